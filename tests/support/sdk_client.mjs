// Drives clients of sdk/js for the tests: one command a line on stdin, one answer a line on stdout. See node_client.py.
import { createInterface } from "node:readline";

const planb = await import(process.argv[2]);
const clients = new Map();
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const shown = ({ name, message, status, code, key }) => ({ name, message, status, code, key });

async function follow(name, pauseMs, most) {
  let end = null;
  let count = 0;
  try {
    for await (const update of clients.get(name).updates()) {
      say({ client: name, update, saved: pauseMs === null ? undefined : clients.get(name).saved() });
      if (++count === most) break;
      if (pauseMs) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  } catch (error) {
    end = shown(error);
  }
  say({ client: name, ended: end });
}

const commands = {
  create: ([regions, token, more], name) => void clients.set(name, new planb.Client(regions, token, more)),
  login: async (args, name) => void clients.set(name, await planb.Client.login(...args)),
  // Not waited for: what comes is told as it comes.
  follow: ([pauseMs, most], name) => void follow(name, pauseMs ?? null, most ?? 0),
  get: ([what], name) => clients.get(name)[what],
  snapshot: (_, name) => clients.get(name).state.snapshot(),
  fresh: async (_, name) => (await clients.get(name).freshState()).snapshot(),
  list: async ([method, ...args], name) => {
    const found = [];
    for await (const one of clients.get(name)[method](...args)) found.push(one);
    return found;
  },
  call: async ([method, ...args], name) => {
    const found = await clients.get(name)[method](...args);
    return Array.isArray(found) ? found.map((one) => (one instanceof Error ? { error: shown(one) } : one)) : found;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, client, command, args } = JSON.parse(line);
  Promise.resolve()
    .then(() => commands[command](args, client))
    .then((result) => say({ id, result: result ?? null }), (error) => say({ id, error: shown(error) }));
}
for (const client of clients.values()) client.close();
