"""Every bound of the system, with their relations asserted. Units are the last part of a name."""

CLOCK_ERROR_MS_MAX = 200
"""How far a DC's wall clock may be off before it refuses writes."""
CARRY_MS_MAX = 100
"""How far a burst may carry ids into the future."""
CLOCK_SKEW_MS_MAX = 500
"""An id further ahead than this is applied, but does not move our clock."""
CLOCK_OPINIONS_MIN = 3
"""So many wall clocks, our own among them, must be known before one of them can be called wrong."""
CLOCK_DRIFT_PPM_MAX = 200
"""How fast the steady clocks of two machines may drift apart; what is known of a peer's clock ages by it."""
LANE_AHEAD_MS_MAX = 10_000
"""A lane whose end lies further ahead of the clock than this is left, and another one begun, rather than waited for."""
CLOCK_ALARM_S = 60
"""One line in the log about wrong clocks in so long."""
CLOCK_AHEAD_RETRY_S_MAX = 5
"""A client whose X-Clock is ahead is not told to wait longer: what it has seen may arrive here sooner."""

MESSAGE_BYTES_MAX = 16_384
CUSTOM_DEPTH_MAX = 8
"""Of a custom message's data; a client walks it with less care than we do."""
CUSTOM_VALUES_MAX = 512
CUSTOM_NAME_CHARS_MAX = 64
JSON_INT_MAX = (1 << 53) - 1
"""Beyond it a JavaScript client reads another number."""
IMAGE_SIDE_MAX = 65_535
"""Pixels."""
ACCURACY_M_MAX = 40_075_017
"""Of a location: once around the earth."""
LINE_CHARS_MAX = 255
"""Of a file's name, or a place's."""
NAME_CHARS_MAX = 128
TEXT_FIELD_CHARS_MAX = 2_048
GROUP_MEMBERS_MAX = 20
SUPERGROUP_ADD_MAX = 200
"""Members named in one call."""
SUPERGROUPS_OF_USER_MAX = 1_000
"""Supergroups that a user may be in by his own doing: a cursor holds their positions. Asked at the origin only."""
SUPERGROUPS_ADDED_MAX = 800
"""Supergroups up to which others may add him: whoever fills them does not keep him from joining more."""
COLUMN_WRITES_MAX = 1_000
"""Writes of one field that are looked at to say how one of them stands among them; the newest."""
LOST_READ_TOGETHER = 1_000
"""Writes read in one go where those that lost are looked for."""
LOST_LOOKS_MAX = 20_000
"""Writes that are looked at for one page of what lost; it goes on with the next one. Of each field among them something
is kept meanwhile."""
LOST_ASKED_MAX = 200
"""Writes that lost that are looked at for one page: of each, whoever asks for those of one actor has the event read."""
TIMELINE_STEP_MS = 100
"""What is applied within so long of one lane counts as applied at one time, when an event is explained."""
TIMELINE_POINTS_MAX = 4_096
"""Per lane; beyond it, what is older is remembered more coarsely."""
BANS_OF_CHAT_MAX = 1_000
"""Users who are kept out of a chat at a time. Asked at the origin only."""
INVITES_OF_CHAT_MAX = 100
"""Links into a chat that are neither over nor revoked. Asked at the origin only, as those below."""
INVITE_USES_MAX = 100_000
"""The greatest bound that a link may have; it may have none."""
LINK_CHARS_MAX = 256
JOIN_REQUESTS_OF_CHAT_MAX = 500
"""Requests to be let in that wait for an answer."""
JOIN_REQUESTS_OF_ONE_MAX = 20
"""Requests of one user for one chat, ever: each is a row, and they are all read when he is answered."""
MANAGERS_TOLD_MAX = 50
"""The owner and admins who are told of requests and links; the others see them when they look."""
BLOCKS_OF_USER_MAX = 1_000
"""Users whom one has blocked at a time. Asked at the origin only, of what is applied there."""
CONTACTS_OF_USER_MAX = 2_000
"""Contacts and requests, either way, that a user may come to by his own doing. Asked at the origin only."""
CONTACTS_ASKED_MAX = 1_600
"""Those up to which others may ask him: whoever fills them does not keep him from asking others."""
HANDLE_CLAIMS_OF_USER_MAX = 10
"""Claims of one handle by one user, ever: each is a row, and whoever looks the handle up reads them all."""
HANDLE_ROWS_MAX = 400
"""Claims and releases of one handle by all, ever; then it stays with whom has it, and is nobody's where nobody has."""
DEVICES_OF_USER_MAX = 50
"""Devices of a user that are registered at a time. Asked at the origin only, of those written last (PAGE_MAX)."""
PUSH_TOKEN_CHARS_MAX = 2_048
SCHEDULED_OF_USER_MAX = 100
"""Messages of a user that wait to be sent, or were not sent. Asked at the origin only."""
SCHEDULED_AHEAD_MS_MAX = 5 * 366 * 86_400_000
"""How far ahead a message may be scheduled."""
SCHEDULED_LOOK_MS = 1_000
"""How often a datacenter looks for messages that are due."""
SCHEDULED_TAKEOVER_MS = 60_000
"""A message that is overdue for so long is sent by another datacenter than its home."""
SCHEDULED_SENDERS_MAX = 32
"""Users whose messages are sent at once; those of one user go one after another."""
SESSIONS_OF_USER_MAX = 100
"""Sessions of a user that live at a time; one more ends the oldest. Looked at where it is opened: datacenters may
overshoot together, and the next one takes back so much of it:"""
SESSIONS_ENDED_MAX = 20
EMOJI_CHARS_MAX = 32
"""Code points of one reaction; the longest emoji that is in use has 10 (a kiss of two with colours of skin)."""
EMOJI_PER_MESSAGE_MAX = 20
"""Different emoji on one message."""
REACTIONS_PER_USER_MAX = 5
"""Emoji of one user on one message."""
REACTED_PER_USER_MAX = 20
"""Reactions that one user sets and takes back on one message, ever, with what it takes to take back all that is on: so
nobody uses up what a message may have for all."""
MESSAGE_REACTIONS_MAX = 400
"""Reactions set and taken back on one message, ever: each is a row, and whoever shows the message reads them all. What
is on can still be taken back."""
MENTIONS_MAX = 20
"""Users that a message names; `all` names a group's members, who are no more (but for an overshoot)."""
MENTIONS_COUNTED_MAX = 200
"""The newest mentions of a user in a dialog among which the unread ones are counted."""
MESSAGE_EDITS_MAX = 50
"""Revisions of one message."""
KEY_CHARS_MAX = 64
BATCH_MESSAGES_MAX = 100
REQUEST_BYTES_MAX = 131_072
"""A request body, but for a batch's: a full message fits however its characters are escaped, and so does a cursor."""
ANONYMOUS_BYTES_MAX = 32_768
"""The body of a call that needs no token: the longest password fits however it is escaped."""
BODY_BYTES_MAX = 5_242_880
"""The body of a batch: a full one fits when every character that is not ASCII is escaped (three bytes for one)."""
BODIES_BYTES_MAX = 67_108_864
"""What has come of the bodies of all requests that the public listener works on; beyond it 503."""
BODIES_BYTES_OF_ONE_MAX = 16_777_216
"""The same of one user, or of one address without a token: nobody holds what all need."""
FIELDS_MAX = 64
"""Fields of a body."""
JSON_VALUES_MAX = 5_000
"""Values in a body, at any depth."""
ERRORS_LISTED_MAX = 16
"""Fields at fault that a problem lists."""
ERROR_TEXT_CHARS_MAX = 256
REFUSALS_LOGGED_MS = 1_000
"""Of requests that are refused for one reason a listener's log has a line this often."""
REFUSAL_REASONS_MAX = 64
"""So many reasons are told apart; beyond it all are forgotten, and each has a line again."""
"""Of what one of them is told; the name of a field is cut at half of it."""
PAGE_MAX = 100

LANE_QUEUE_MAX = 4_096
"""Writes that wait for the log; beyond it 503 with Retry-After."""
LANE_BATCH_MAX = 512
"""Events in one group commit."""
LANE_BATCH_BYTES_MAX = 4_194_304
"""Bodies in one group commit; the log server does nothing else while it takes them."""
LANE_ANSWER_MS_MAX = 3_000
"""A write that is neither synced and applied nor refused this long after its append began: outcome unknown."""
LANE_CLOSE_MS_MAX = 10_000
"""How long a closing lane waits for what is under way."""
LOG_CONNECTIONS_MAX = 8
"""Connections of one process to the log server."""
LOG_TAIL_BYTES_MAX = 2_097_152
"""Bodies of a lane's newest records that a process keeps, so that followers need not ask the log server for them."""
LOG_TAIL_RECORDS_MAX = 8_192
"""The same in records, whose bodies may be tiny."""
FOLLOW_LOOK_MS = 250
"""How soon a follower of the log sees what another process has written."""
LOG_TAIL_TRUST_MS = 500
"""How long after a look at the log the kept records are given out without asking it."""
LEASE_MS_MIN = 3_000
LEASE_MS_MAX = 60_000
LEASE_MARGIN_MS = 1_000
"""A holder stops so long before its lease may end elsewhere: for what lies between its look and its act, and for clocks
that run at different speeds."""
LEASE_RENEWALS = 3
"""So often it is renewed within its time; a renewal may take as long as there is between two of them."""
COORDINATION_CALL_MS_MAX = 2_000
"""A call to coordination, but for a renewal, is answered in this time or has failed."""
COORDINATION_LOOK_MS = 500
"""How often a watcher of a folder looks."""
COORDINATION_SILENT_MS_MAX = 20_000
"""A watch that was told nothing for so long is begun anew: its connection may be a dead one."""
COORDINATION_NAME_CHARS_MAX = 64
COORDINATION_BYTES_MAX = 4_194_304
"""An answer of etcd: what a datacenter keeps there is 128 workers, and its map."""
PULSAR_THREADS = 8
"""Calls of the Pulsar driver that wait for an answer at a time."""
PULSAR_QUEUE_MESSAGES = 8
"""Messages that the driver holds per producer, and per datacenter that is replicated to us; each is a group commit."""
PULSAR_AHEAD_MESSAGES = 32
"""Messages that a reader fetches ahead."""
PULSAR_READERS_MAX = 16
"""Readers that stay open for whoever reads on where he was."""
PULSAR_PLACES_MAX = 1_024
"""Groups per lane whose place in its topic is remembered."""
PULSAR_END_MESSAGES = 8
"""The end of a lane is read from so many of its last messages: the very last one may be a repeat."""
PULSAR_SEARCH_MESSAGES = 64
"""A search for a group ends so close to it."""
PULSAR_MESSAGE_BYTES_MAX = 5_242_880
"""Of one message, Pulsar's own bound (`maxMessageSize`)."""
PULSAR_DISCOVER_MS = 1_000
"""How soon a new lane of another datacenter is noticed."""
PULSAR_BACKLOG_LOOK_S = 5
"""How often the backlog of the own lanes is looked at."""
APPLY_QUEUE_MAX = 8_192
PULL_RECORDS_MAX = 2_000
PULL_BYTES_MAX = 4_194_304
PULL_WAIT_MS_MAX = 5_000
"""How long a pull may wait for growth."""
INBOX_RECORDS_MAX = 20_000
"""Records of all lanes together that wait for the one before them, or for their signature."""
REPLAY_RECORDS_MAX = 1_000
"""Records in one batch for /sys/v1/replay; at least one whole group commit."""
REPLAY_BYTES_MAX = 16_777_216
REPLAY_BODY_BYTES_MAX = REPLAY_BYTES_MAX + BODY_BYTES_MAX
"""The body of one; the last record may exceed the bound of the batch."""
SYS_BODIES_BYTES_MAX = 134_217_728
"""As BODIES_BYTES_MAX, of the internal listener."""
REPLAY_POSTS_MAX = 4
"""Batches of different lanes on their way to /sys/v1/replay at once."""
PEER_CONNECTIONS_MAX = 8
"""Connections to one peer DC."""
PULL_SLACK_MS = 5_000
"""A long poll that has not answered this long after its wait is a failed link."""
LAZY_MS_MAX = 1_000
"""A lane that its own DC should give us directly is asked for elsewhere when we stay behind for this long."""
REPLAY_TIMEOUT_MS = 30_000
BACKOFF_MS_FIRST = 50
BACKOFF_MS_MAX = 5_000
LAG_SAMPLES_MAX = 2_048
"""The newest lags per origin DC that percentiles are computed over."""
LAG_WINDOW_MS = 60_000
"""The lag that is told as the present one is that of what came so lately: an old cut is not in it."""
INTERNAL_AUTH_WINDOW_MS = 60_000
"""A signed internal request further from our clock than this is refused."""
NONCES_MAX = 200_000
"""Signed requests that are remembered until they would be out of time; beyond it the oldest second's is over."""
REMOTE_WAITERS_MAX = 8_192
"""Writes that wait for another DC; beyond it they are answered as local."""
PARKED_MAX = 10_000

UPDATES_KEPT_MAX = 10_000
"""Updates kept per user (and per supergroup) in the hot store; older ones are trimmed, then a cursor is `reset`."""
LIST_TRIM_SHARE = 64
"""A list of updates beyond its bound loses this part of it at once, and one of results grows by this part before it is
cut to its bound, so that not every write of a busy user pays for it."""
REFEED_RECORDS_MAX = 20_000
"""Records per lane from which updates are fed again when the hot store is rebuilt."""
LOG_KEPT_RECORDS_MAX = 100_000
"""Records per lane that the log keeps for peers that lack them (on top of REFEED_RECORDS_MAX); older ones they get from
the archive. So the log's memory is bounded, whoever is away."""
TRIM_RECORDS_MIN = 1_000
"""A lane is trimmed when so many records may go: each time costs the log server a sync."""
TRIM_RECORDS_MAX = 50_000
"""Records of one lane trimmed at once."""
RECENT_KEPT_MAX = 500
"""Ids per conversation that unread counts are computed over."""
HOT_WAITING_MAX = 128
"""Updates of one owner from which his dialogs were not drawn yet, and messages of one conversation that are not in its
window yet; both are done for many at once, or when somebody looks."""
MESSAGE_LINGER_MS = 200
"""Message rows may follow their event's answer by this much."""
MESSAGE_WRITE_ROWS = 1_024
"""So many queued message rows are written at once, without lingering."""
MESSAGE_QUEUE_ROWS_MAX = 20_000
"""Message rows that wait to be written; beyond it `ready` waits, and so does who would put more."""
CASSANDRA_PART_ROWS_MAX = 10_000
"""Entries in one partition of a conversation's index; the next one goes into another."""
CASSANDRA_PARTS_OPEN_MAX = 100_000
"""Partitions of conversations that a process remembers to have begun; of one that it forgot it begins another."""
CASSANDRA_WRITES_MAX = 128
"""Writes on their way to Cassandra at once."""
CASSANDRA_READS_MAX = 256
"""The same of reads; further ones wait."""
CASSANDRA_BATCH_BYTES_MAX = 65_536
"""Of the rows of one partition that are written with one call; it may be exceeded by one row."""
CASSANDRA_BATCH_ROWS_MAX = 100
CASSANDRA_KEYS_MAX = 25
"""Partitions that one call reads."""
CASSANDRA_CALL_S_MAX = 5
"""A call that Cassandra has not answered for so long has failed; a write may have taken effect."""
CASSANDRA_CONNECT_S_MAX = 3
CASSANDRA_SCHEMA_S_MAX = 60
"""How long a process waits for its turn at the schema, and for the nodes to agree on it."""
STORE_QUEUE_MAX = 1_024
"""Calls that wait for the threads or connections of one store; beyond it 503."""
ROW_KEY_BYTES_MAX = 240
"""The key of a row in its canonical encoding; also the characters of any other text that rows are found by. No id comes
near it: it is what MySQL takes into an index."""
SQL_CONNECTIONS_MIN = 2
"""To a database server, of one process: one that writes, the others read."""
SQL_CONNECTIONS_LEFT = 4
"""What a database server takes beside the connections of one process: an operator, a snapshot beside it."""
SQL_CONNECT_S_MAX = 3
SQL_ANSWER_S_MAX = 10
"""A statement, or a whole transaction, that a database server has not answered for so long: the connection is given
up."""
SQL_LOCK_WAIT_S = 2
"""How long a statement waits in the database for another process's transaction."""
SQL_TRIES_MAX = 5
"""How often a transaction that met another one is done in all."""
SQL_IDLE_S_MAX = 3_600
"""The server closes a connection that nobody used for so long."""
SQL_PACKET_BYTES_MIN = 16_777_216
"""What a database server has to take as one statement."""
SQL_STATEMENT_BYTES_MAX = 1_024_000
"""Of a statement that writes many rows (the driver's own bound); it may be exceeded by one row."""
SQL_MIGRATE_S_MAX = 60
"""How long a process waits for another one that migrates."""
VIEW_CACHE_MAX = 50_000
"""Reads of the relational store that are kept in memory per process."""
VIEW_CACHE_BYTES_MAX = 67_108_864
"""What they may weigh together."""
ANNOUNCED_KEPT_MAX = 50_000
"""Messages that an announcement remembers to have seen sent or acted on: many times what is applied while a write goes
from the look for its key to its turn. Beyond it a copy may be announced without the other, until its client fetches."""
RESULT_KEPT_S = 86_400
"""How long (actor, key) -> result is kept."""
RESULTS_OF_USER_MAX = 1_024
"""Results of one user that the hot store keeps, those of his newest writes; up to 1/LIST_TRIM_SHARE more are there."""
RESULTS_OF_SYSTEM_MAX = 100_000
"""The same of the customer's own system, which is one actor and writes for all users."""
HOT_FREED_S_MAX = 30
"""How long the beginning of an epoch waits until the hot store's server has freed what it emptied; then the rebuild
ends, and is tried again."""
HOT_SLOT_WAIT_S_MAX = 2
"""How long a call to a hot store in a cluster waits for a slot that is on its way from node to node; then 503."""
CONFLICTS_KEPT_S = 30 * 86_400
"""How long a write that lost is listed as a conflict. Rows from which conflicts are computed are kept so long and until
every DC has them."""
COLLECT_INTERVAL_S = 60
COLLECT_ROWS_MAX = 2_000
"""Of one transaction that forgets."""
CRDT_META_KEPT_S = 3_600
"""How long the hot store remembers the stamps of a row nobody writes; forgetting is safe, a store's guard decides."""

CONNECTION_QUEUE_MAX = 1_000
"""Updates waiting for one websocket; a slower reader is dropped and told to resume."""
CONNECTION_QUEUE_BYTES_MAX = 4_194_304
"""The same in bytes."""
CONNECTIONS_MAX = 20_000
"""Websockets of one process."""
HTTP_CONNECTIONS_MAX = 22_000
"""Connections to the public listener, websockets included; beyond it 503 and closed."""
SYS_CONNECTIONS_MAX = 256
"""The same of the internal listener."""
FILES_KEPT = 256
"""Open files for everything that is no client: stores, log, peers, archive."""
HTTP_CONNECTIONS_MIN = 64
"""With less room for clients than this a process does not start."""
HEAD_WAIT_S_MAX = 15
"""How long a new connection may take to its first complete request head."""
TAKE_WAIT_S_MAX = 20
"""A client that takes nothing of what it is answered for so long is cut."""
HEARTBEAT_S = 20
STREAMS_BYTES_MAX = 134_217_728
"""What waits for all websockets of a process together; beyond it those for which most waits are dropped."""
STREAM_BUFFER_BYTES = 16_384
"""Of a websocket, on top of it: what it takes before its writer waits for the client."""
HELLO_S_MAX = 10
"""How long a websocket may take to say hello."""
STREAM_LINGER_MS = 25
"""A connection that was written to less than this ago collects updates first: one frame for many."""
STREAM_FRAME_BYTES_MAX = 262_144
"""Of a websocket frame; it may be exceeded by one update."""
STREAM_RECEIVED_BYTES_MAX = 131_072
"""Of a frame from a client: a hello with the longest cursor fits."""
STREAM_CLIENT_FRAMES_MAX = 64
"""Frames that a client may send at once; then STREAM_CLIENT_FRAMES_PER_S. It has one hello to say, and pings."""
STREAM_CLIENT_FRAMES_PER_S = 2
STREAM_CLIENT_BYTES_MAX = 16_384
"""The same in bytes, after its hello."""
STREAM_CLIENT_BYTES_PER_S = 512
STREAMS_OF_SESSION_MAX = 16
"""Websockets of one session in one process."""
STREAMS_OF_USER_MAX = 64
"""The same of one user."""
STREAMS_LEAVING_MAX = 16
"""Websockets of one user that are being closed because others took their places."""
RESUME_UPDATES_MAX = 500
"""Updates sent at connect to a client that comes back; beyond it, it asks POST /v1/updates."""
CLOSE_S_MAX = 5
"""How long a closed websocket may take to answer before its transport is cut."""
TICKET_S = 30
TICKETS_MAX = 10_000
"""One-time tickets that wait to be used; the oldest go first."""
TICKETS_OF_USER_MAX = 8
"""The same of one user, so that nobody throws out the tickets of others."""
KEPT_MAX = 1_000
"""Acknowledged event ids that a client may ask about in one POST /v1/updates."""
SESSION_DAYS = 365
REFRESH_DAYS = 30
"""A session that nobody refreshes for so long is over."""
ACCESS_TOKEN_S = 3_600
"""How long an access token lives, unless the settings say otherwise (public.access_token_s)."""
TOKEN_AHEAD_MS_MAX = 60_000
"""How far in the future a token may have been made, by the clock of another machine."""
REFRESHES_OF_SESSION = 20
"""Refreshes of one session at once, in one process; then one every REFRESH_REFILL_S."""
REFRESH_REFILL_S = 15
REFRESHES_REMEMBERED_MAX = 50_000
"""Sessions whose refreshes are counted."""
REFRESH_TOKEN_CHARS_MAX = 512

REQUESTS_IN_FLIGHT_MAX = 2_000
"""Requests one API process works on at a time, those whose body is still coming left out; beyond it 503 with
Retry-After."""
TICK_REQUESTS_MAX = 100
"""Single writes that came at one time and are done in one go."""
BODY_WAIT_MS_MAX = 10_000
"""How long a body may take to arrive."""
KEEP_ALIVE_S = 75
"""A connection that has sent only plain requests is closed after so long without one."""
CORS_ORIGINS_MAX = 32
"""Web pages' origins in the settings."""
JSON_DEPTH_MAX = 32
TOKEN_CHARS_MAX = 512
TOKENS_CACHED_MAX = 50_000
"""Verified tokens kept per process, so that a signature is checked once."""
CURSOR_CHARS_MAX = 32_768
"""A cursor in a body; one in a header is bounded by the 8,190 bytes of a header line."""
DURABILITY_WAIT_MS_MAX = 2_000
"""How long a write waits for another DC before it answers `durability=local`."""
PASSWORD_MEMORY_KIB, PASSWORD_PASSES = 19_456, 2
"""What a password hash costs: those that OWASP recommends for Argon2id on one lane."""
PASSWORD_CHECKS_MAX = 4
"""Password hashes computed at a time (19 MiB and some 50 ms each)."""
PASSWORD_WAITING_MAX = 64
"""Logins that wait for one of them; beyond it 503."""
PASSWORD_WAITING_OF_ADDRESS_MAX = 16
"""Logins from one address that wait for one of them; beyond it 429."""
LOGINS_FAILED_OF_USER = 20
"""Wrong passwords for one user at once; then one every LOGIN_USER_REFILL_S."""
LOGIN_USER_REFILL_S = 5
LOGINS_FAILED_OF_ADDRESS = 60
"""Wrong passwords from one address at once; then one every LOGIN_ADDRESS_REFILL_S."""
LOGIN_ADDRESS_REFILL_S = 1
LOGINS_REMEMBERED_MAX = 50_000
"""Users, and addresses, whose wrong passwords are counted; those that failed longest ago are forgotten."""
MESSAGES_PER_S, WRITES_PER_S, READS_PER_S = 500, 200, 200
"""What one user may ask of one route, in one process, unless the settings say otherwise (public.rates)."""
RATE_BURST_S = 10
"""So many seconds' worth may come at once."""
RATE_USERS_MAX = 50_000
"""Per route; of more, those who asked longest ago are forgotten."""
SCAN_ENTRIES_MAX = 1_000
"""Updates looked at for one page of `POST /v1/updates`."""
SCAN_MESSAGES_MAX = 1_000
"""Messages looked at for one page of a history."""
REPLIES_COUNTED_MAX = 1_000
"""Replies of a thread that are counted: each is a row."""
REPLIES_SHOWN_MAX = 100
"""Replies that are counted of a message in a history: the newest ones. Each is a row, for each message of a page."""
SCAN_DIALOGS_MAX = 1_000
"""Messages looked at for one page of dialogs, beside the newest of each: where that is cleared, hidden or not for who
asks, an older one is looked for. The dialogs share them."""
SCAN_MEMBERS_MAX = 1_000
"""Adds of a supergroup looked at for one page of its members: most of those who were in it may be gone."""
SCAN_FORMER_MAX = 1_000
"""Entries of the dialog index that are passed over for one page, because he is not in those groups any more."""
HISTORY_BYTES_MAX = 524_288
"""Texts and reactions in one page of a history, before they are escaped; it may be exceeded by one message."""
UPDATES_BYTES_MAX = 524_288
"""JSON of the updates in one page of `POST /v1/updates`; it may be exceeded by one update."""
READ_TOGETHER = 25
"""Messages that are read in one go: a page that ends by its bytes has read no more for nothing."""

SEGMENT_RECORDS_MAX = 5_000
SEGMENT_BYTES_MAX = 16_777_216
"""Of a segment before compression; it may be exceeded by one record."""
SEGMENTS_SMALL_MAX = 32
"""Small segments in a row at the end of a lane's archive before they are merged."""
SEGMENT_MERGED_BELOW = 1_250
"""Records of a segment that is not small: at such a rate merging would read and write all once more, for at most a
quarter of the objects."""
ARCHIVE_INTERVAL_MS = 500
"""How long the archiver collects before it seals: what a burnt DC may lose that no other DC held."""
ARCHIVE_WAIT_S_MAX = 60
"""How long a snapshot waits for the archive to reach its F1 before it is void."""
CHUNK_ROWS_MAX = 10_000
CHUNK_ROWS_MEAN = 4_096
CHUNK_BYTES_MAX = 8_388_608
"""Of a chunk before compression; it may be exceeded by one row."""

DISK_FREE_BYTES_MIN = 536_870_912
"""Left on the disk of a folder: below it an operator is told. Nothing else happens."""

FILE_BYTES_MAX = 8_388_608
"""Of one file: it is held whole while it is taken, fetched or given out."""
FILE_WAIT_MS_MAX = 120_000
"""How long a file may take to arrive, or to be taken by its reader."""
FILE_FETCH_S_MAX = 30
"""How long a datacenter may take to give another one a file."""
FILES_MIB_OF_USER_DAY = 1_024
"""Of files that one user puts in a day, each a whole MiB at least, per process."""
OBJECT_BYTES_MAX = 268_435_456
"""Of one object; objects are read and written whole."""
S3_THREADS = 8
"""Calls to S3 at a time."""
S3_WHOLE_BYTES_MAX = 16_777_216
"""A bigger object is sent in parts."""
S3_PART_BYTES = 8_388_608
S3_CONNECT_S_MAX = 3
S3_SILENT_S_MAX = 10
"""A connection to S3 on which nothing moves for so long is given up."""
S3_CALL_S_MAX = 30
"""How long a call to S3 is tried again, and what is sent or fetched at S3_BYTES_PER_S_MIN comes on top."""
S3_BYTES_PER_S_MIN = 1_048_576
S3_ASK_S_MAX = 5
"""The same where somebody only asks whether it is there."""
DOCTOR_CHECK_S_MAX = 10
"""So long `planb doctor` waits for one check; they run beside each other."""

SERIES_INTERVAL_MS = 5_000
"""How often the figures of a process are noted."""
SERIES_WAITING_MAX = 10_000
"""Points that wait for their store; beyond it the oldest are dropped."""
SERIES_BATCH_MAX = 1_000
"""Points in one write."""
SERIES_WINDOWS_MAX = 1_000
"""Stretches of time that a question is answered by, of each series."""
SERIES_TAG_CHARS_MAX = 64
SERIES_BYTES_MAX = 268_435_456
"""Of the embedded store's file; beyond it the oldest points go, before their days are over."""
SERIES_ANSWER_S_MAX = 5
"""TDengine, when it is silent for so long, does not answer."""
SERIES_CLOSE_S_MAX = 2
"""How long a process that ends tries to bring away what waits."""

LINE_PULSE_MS = 1_000
"""How often the process that applies tells the others of its datacenter how it is."""
LINE_SILENCE_MS_MAX = 5_000
"""After so long without a word their line counts as broken, and they keep no rows in memory."""
LINE_AGAIN_MS_MAX = 250
"""Between two tries to have a line."""
LINE_WAITING_BYTES_MAX = 67_108_864
"""What may wait to be told to one process; beyond it its line is closed."""
LINE_ASKS_MAX = 8_192
"""Of one process, at a time."""
LINE_ANNOUNCED_MAX = 10_000
"""Frames that a broker has not passed on; beyond it its clients are told to ask."""
DRAIN_S_MAX = 5
"""How long a process that ends waits for its clients' connections to come to an end."""

DC_MAX = 31
INCARNATION_MAX = 15
WORKER_MAX = 127


def least(kept: int) -> int:
    """How many updates stay when a list grew beyond `kept` and is cut."""
    return kept - kept // LIST_TRIM_SHARE


def ticks(ms: int) -> int:
    """Clock ticks in `ms` milliseconds (256 ticks are 10 ms)."""
    return (ms << 8) // 10


assert CLOCK_SKEW_MS_MAX >= 2 * CLOCK_ERROR_MS_MAX + CARRY_MS_MAX
assert CLOCK_SKEW_MS_MAX + CARRY_MS_MAX < LANE_AHEAD_MS_MAX
assert LANE_BATCH_MAX <= LANE_QUEUE_MAX <= APPLY_QUEUE_MAX
assert 2 * LINE_PULSE_MS < LINE_SILENCE_MS_MAX
assert LANE_BATCH_BYTES_MAX < LINE_WAITING_BYTES_MAX
# A tenth of the margin is enough for the drift of two clocks over the longest lease.
assert 10 * LEASE_MS_MAX * CLOCK_DRIFT_PPM_MAX <= 1_000_000 * LEASE_MARGIN_MS
# A renewal may fail as slowly as it likes, and the next one still comes before the holder stops.
assert LEASE_MS_MIN // LEASE_RENEWALS <= LEASE_MS_MIN - LEASE_MARGIN_MS - LEASE_MS_MIN // LEASE_RENEWALS
assert COORDINATION_CALL_MS_MAX < LEASE_MS_MIN <= LEASE_MS_MAX
assert 3 * BATCH_MESSAGES_MAX * MESSAGE_BYTES_MAX + 1_024 * BATCH_MESSAGES_MAX < BODY_BYTES_MAX
assert 6 * MESSAGE_BYTES_MAX + CURSOR_CHARS_MAX <= REQUEST_BYTES_MAX
assert 12 * TEXT_FIELD_CHARS_MAX + 1_024 < ANONYMOUS_BYTES_MAX < REQUEST_BYTES_MAX < BODY_BYTES_MAX
assert 3 * BODY_BYTES_MAX <= BODIES_BYTES_OF_ONE_MAX
assert 4 * BODIES_BYTES_OF_ONE_MAX <= BODIES_BYTES_MAX
assert 4 * PASSWORD_WAITING_OF_ADDRESS_MAX <= PASSWORD_WAITING_MAX
assert INVITES_OF_CHAT_MAX <= PAGE_MAX
# All requests of one user for a chat are looked at, also where several datacenters overshot together.
assert 2 * JOIN_REQUESTS_OF_ONE_MAX < PAGE_MAX
# Not a handful of users, asking and taking it back, keep others from asking.
assert 20 * JOIN_REQUESTS_OF_ONE_MAX < JOIN_REQUESTS_OF_CHAT_MAX
# One user alone does not use up a handle.
assert 20 * 2 * HANDLE_CLAIMS_OF_USER_MAX <= HANDLE_ROWS_MAX
assert DEVICES_OF_USER_MAX <= PAGE_MAX
assert SCHEDULED_OF_USER_MAX <= PAGE_MAX
# Whoever is merely slow is not taken over, nor a datacenter that was started anew.
assert 10 * SCHEDULED_LOOK_MS <= SCHEDULED_TAKEOVER_MS
assert CUSTOM_DEPTH_MAX < JSON_DEPTH_MAX and CUSTOM_VALUES_MAX < JSON_VALUES_MAX
assert CONTACTS_ASKED_MAX < CONTACTS_OF_USER_MAX
assert SUPERGROUPS_ADDED_MAX < SUPERGROUPS_OF_USER_MAX
# A chat's number and a position in it, in base64; the rest is V's.
assert (8 + 5) * SUPERGROUPS_OF_USER_MAX * 4 // 3 < CURSOR_CHARS_MAX * 2 // 3
assert KEPT_MAX + SUPERGROUPS_OF_USER_MAX + SUPERGROUP_ADD_MAX + 8 * BATCH_MESSAGES_MAX < JSON_VALUES_MAX
assert max(BATCH_MESSAGES_MAX, TICK_REQUESTS_MAX) <= LANE_BATCH_MAX
assert REPLAY_POSTS_MAX * REPLAY_BODY_BYTES_MAX < SYS_BODIES_BYTES_MAX
# In the log nothing is escaped; beside its text a message has recipients and what its origin knew.
assert 2 * BATCH_MESSAGES_MAX * MESSAGE_BYTES_MAX <= LANE_BATCH_BYTES_MAX <= REPLAY_BYTES_MAX
assert least(UPDATES_KEPT_MAX) >= RECENT_KEPT_MAX
# What a client may repeat after a change of region, and what it may have under way.
assert max(KEPT_MAX, BATCH_MESSAGES_MAX) <= RESULTS_OF_USER_MAX
assert RESULTS_OF_USER_MAX <= RESULTS_OF_SYSTEM_MAX
assert REACTIONS_PER_USER_MAX <= EMOJI_PER_MESSAGE_MAX <= MESSAGE_REACTIONS_MAX
# To set what one may have on at once, and to take it back.
assert 2 * REACTIONS_PER_USER_MAX <= REACTED_PER_USER_MAX
# A group in which everybody reacts as much as he may: the last one still has room.
assert GROUP_MEMBERS_MAX * REACTED_PER_USER_MAX <= MESSAGE_REACTIONS_MAX
assert PULL_RECORDS_MAX <= LOG_KEPT_RECORDS_MAX
assert TRIM_RECORDS_MIN <= TRIM_RECORDS_MAX
assert MESSAGE_WRITE_ROWS <= MESSAGE_QUEUE_ROWS_MAX
assert LANE_BATCH_MAX <= REPLAY_RECORDS_MAX
# A row fits a batch, and one batch does not fill a partition.
assert 2 * MESSAGE_BYTES_MAX <= CASSANDRA_BATCH_BYTES_MAX
assert CASSANDRA_BATCH_ROWS_MAX < CASSANDRA_PART_ROWS_MAX
assert MESSAGE_WRITE_ROWS < CASSANDRA_PARTS_OPEN_MAX
assert CASSANDRA_CONNECT_S_MAX < CASSANDRA_CALL_S_MAX < CASSANDRA_SCHEMA_S_MAX
# A group commit is replayed whole, because its last record vouches for it.
assert LANE_BATCH_BYTES_MAX + 128 * LANE_BATCH_MAX <= REPLAY_BYTES_MAX
assert PULL_BYTES_MAX <= REPLAY_BYTES_MAX
# Replay leaves room for our own writes.
assert 2 * REPLAY_POSTS_MAX * REPLAY_RECORDS_MAX <= APPLY_QUEUE_MAX
assert PULL_RECORDS_MAX <= SEGMENT_RECORDS_MAX
assert 4 * SEGMENT_MERGED_BELOW == SEGMENT_RECORDS_MAX
assert CHUNK_ROWS_MEAN < CHUNK_ROWS_MAX
# There is time to act: a queue of segments or of rows does not use it up.
assert 16 * SEGMENT_BYTES_MAX <= DISK_FREE_BYTES_MIN
assert 2 * FILE_BYTES_MAX <= BODIES_BYTES_OF_ONE_MAX and FILE_BYTES_MAX <= OBJECT_BYTES_MAX
# It fits an answer of a peer.
assert FILE_BYTES_MAX <= PULL_BYTES_MAX + BODY_BYTES_MAX
assert 2 * max(SEGMENT_BYTES_MAX, CHUNK_BYTES_MAX) <= OBJECT_BYTES_MAX
# S3's own bounds: 5 MiB for a part that is not the last, 10,000 parts.
assert 5 * 1_048_576 <= S3_PART_BYTES <= S3_WHOLE_BYTES_MAX
assert OBJECT_BYTES_MAX <= 10_000 * S3_PART_BYTES
assert max(S3_ASK_S_MAX, CASSANDRA_CALL_S_MAX, SQL_CONNECT_S_MAX, COORDINATION_CALL_MS_MAX / 1_000) < DOCTOR_CHECK_S_MAX
assert S3_CONNECT_S_MAX < S3_SILENT_S_MAX < S3_CALL_S_MAX < ARCHIVE_WAIT_S_MAX
assert 2 * ARCHIVE_INTERVAL_MS < 1_000 * ARCHIVE_WAIT_S_MAX
# A group commit is one message.
assert LANE_BATCH_BYTES_MAX + 128 * LANE_BATCH_MAX + 1_024 <= PULSAR_MESSAGE_BYTES_MAX
assert PULSAR_THREADS <= PULSAR_READERS_MAX
assert CONNECTIONS_MAX + REQUESTS_IN_FLIGHT_MAX <= HTTP_CONNECTIONS_MAX
assert PEER_CONNECTIONS_MAX * DC_MAX <= SYS_CONNECTIONS_MAX
assert HEAD_WAIT_S_MAX <= KEEP_ALIVE_S
assert RESUME_UPDATES_MAX < CONNECTION_QUEUE_MAX
assert STREAMS_OF_SESSION_MAX <= STREAMS_OF_USER_MAX
assert 100 * (STREAMS_OF_USER_MAX + STREAMS_LEAVING_MAX) <= CONNECTIONS_MAX
assert 2 * FOLLOW_LOOK_MS <= LOG_TAIL_TRUST_MS
assert LANE_BATCH_MAX <= PULL_RECORDS_MAX <= LOG_TAIL_RECORDS_MAX
# The longest control frame, masked.
assert (125 + 6) * STREAM_CLIENT_FRAMES_MAX <= STREAM_CLIENT_BYTES_MAX <= STREAM_RECEIVED_BYTES_MAX
assert CURSOR_CHARS_MAX < STREAM_RECEIVED_BYTES_MAX
assert 16 * CONNECTION_QUEUE_BYTES_MAX <= STREAMS_BYTES_MAX
assert STREAM_FRAME_BYTES_MAX < CONNECTION_QUEUE_BYTES_MAX
# MySQL indexes 3,072 bytes, four to a character: three texts, or an overwrite's key with its table, column and stamp.
assert 3 * 4 * ROW_KEY_BYTES_MAX + 8 <= 3_072
# "U" and 63 characters, twice, a lane, and what JSON puts around them.
assert ROW_KEY_BYTES_MAX >= 2 * (64 + 3) + 6 + 2 and KEY_CHARS_MAX <= ROW_KEY_BYTES_MAX
# One row of an event, every byte of it escaped.
assert SQL_STATEMENT_BYTES_MAX + 2 * LANE_BATCH_BYTES_MAX <= SQL_PACKET_BYTES_MIN
assert SQL_TRIES_MAX * SQL_LOCK_WAIT_S <= SQL_ANSWER_S_MAX < SQL_MIGRATE_S_MAX < SQL_IDLE_S_MAX
assert ACCESS_TOKEN_S < 86_400 * REFRESH_DAYS < 86_400 * SESSION_DAYS
# Clocks that are wrong within what is borne elsewhere are no reason to refuse a token.
assert LANE_AHEAD_MS_MAX + CLOCK_SKEW_MS_MAX < TOKEN_AHEAD_MS_MAX < 1_000 * ACCESS_TOKEN_S
assert SESSIONS_ENDED_MAX < SESSIONS_OF_USER_MAX <= PAGE_MAX
# A page of dialogs that are all to be searched: each looks at some.
assert 10 * PAGE_MAX <= SCAN_DIALOGS_MAX
assert MESSAGE_BYTES_MAX < HISTORY_BYTES_MAX
# Escaped; what is read for nothing is no more than a page.
assert 6 * MESSAGE_BYTES_MAX < UPDATES_BYTES_MAX
assert READ_TOGETHER * MESSAGE_BYTES_MAX <= UPDATES_BYTES_MAX
assert REPLIES_SHOWN_MAX <= REPLIES_COUNTED_MAX
assert PAGE_MAX < LOST_ASKED_MAX <= LOST_READ_TOGETHER <= LOST_LOOKS_MAX
assert SERIES_BATCH_MAX <= SERIES_WAITING_MAX
