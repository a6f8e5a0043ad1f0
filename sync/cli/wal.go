package cli

const walHelp = `Usage:
  edgesync wal stat     how much is in the queue: offsets, segments, bytes,
                        counters, times. --segments adds one line a file,
                        --json prints one object
  edgesync wal dump     print the events, one a line; secrets are shown as ***
  edgesync wal verify   read everything and report each damage; exit code 0: all
                        is intact, 1: something is damaged, or it is no queue
  edgesync wal repair   do now what the agent does at its start, and in older
                        segments too: cut what is torn, mark what is unreadable
                        as lost, keep the originals in data_dir/corrupt. Exit
                        code 75 while an agent runs

The events on flash are shown as the files have them, whether an agent runs or
not. The queue is that of data_dir as configured (--data_dir, --config);
--dir PATH names a queue directory itself, such as a copy. stat, dump and verify
only read and take no lock. A running agent may be a few seconds ahead of its
files; edgesync status asks the agent.

Flags of dump:
  --since TIME, --until TIME   events accepted from TIME on, up to TIME:
                               2026-01-31T12:00:00Z, or how long ago: 90s, 2h
  --entity NAME                of one device or other entity, or its id
  --action NAME                TIMESERIES_UPDATED, POST_ATTRIBUTES, ...
  --kind NAME                  ENTITY_DATA, DEVICE, DEVICE_CREDENTIALS, ALARM...
  --pending                    only what the cloud has not acknowledged
  --from OFFSET                from this offset on
  --limit N                    at most so many
  --tail N                     the last so many
  --follow                     go on with what comes, until you stop it
  --all                        the queue's own control frames too, and what
                               thinning has removed
  --json                       one JSON object a line, with the full content

States: PENDING waits for the cloud; DEPLOYED lies before the committed
position, what was dropped too; DEAD is in the dead-letter log, or kept of a
former edge (edgesync help dead). What is damaged is shown between the events,
with file and position.

Examples:
  edgesync wal dump --pending --limit 20
  edgesync wal dump --entity pump-3 --tail 5 --follow
  edgesync wal dump --since 2h --json |
      jq -c 'select(.content.values.temperature > 30)'
`

func (p *program) wal(args []string) int {
	name, code, done := p.subcommand("wal", args)
	if done {
		return code
	}
	t := p.newTool("wal", name)
	t.flags.StringVar(&t.dir, "dir", "", "")
	var command func() error
	switch name {
	case "stat":
		command = t.stat()
	case "dump":
		command = t.dump()
	case "verify":
		command = t.verify
	case "repair":
		command = t.repair
	}
	if _, code, done := t.parse(args[1:], 0); done {
		return code
	}
	return t.end(command())
}
