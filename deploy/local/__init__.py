"""The servers that Plan B can stand on, on one machine, without root and without containers: installed into the
repository's ignored folder, started on loopback with private folders, stopped by pid. For tests and for a desk."""
