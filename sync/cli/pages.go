package cli

// pages are all commands, in the order of the list that `edgesync help` prints.
var pages = []page{
	{
		name: "run", short: "run the agent",
		text: `Usage:
  edgesync run [--SETTING=VALUE ...]

Runs until SIGTERM or SIGINT. SIGHUP has it read the configuration again and
connect at once; what has changed and needs a restart is logged.

Example:
  edgesync run --config=/etc/edgesync/config.toml --log.level=debug

Settings, as flags (cloud.host in the file, EDGESYNC_CLOUD_HOST as a variable):
`,
	},
	{
		name: "status", flags: "json watch ack", short: "show the state of the agent on this machine",
		text: `Usage:
  edgesync status [--json|--watch] [--ack]

The first lines say what matters most: what was lost, why there is no link, or
that all is well. It asks the agent that runs on the data directory (--data_dir,
--config); without one it reads the files.

  --json    one JSON object; its names stay
  --watch   again each second, until Ctrl-C; with --json one object a line
  --ack     note that you know what was lost, so that the first line goes on to
            what is next

Example:
  edgesync status --json | jq .pending
`,
	},
	{
		name: "doctor", flags: "json long", short: "look for what is wrong, and say what to do",
		text: `Usage:
  edgesync doctor [--json] [--long]

Looks at the configuration, data_dir, the ports, memory, and the whole way to
the cloud: proxy, DNS, TCP, TLS, HTTP/2, the clock, key and secret. Each line
begins with ✔ (fine), ✘ (a fault; the line below says what to do) or – (not
judged).

An agent that runs on the data directory keeps its session: its own state is
shown then. Without one, the edge's key is shown to the cloud, and for some
seconds the session looks out for another agent with the same key: one that
runs on another machine is thrown out once, and comes back. Some KiB are written
to data_dir and removed, some 300 KiB go to the cloud. It takes about half a
minute.

  --json    one JSON object: ok, version, at, and the list "checks" of name,
            state (good, bad, open), found, do
  --long    be silent for keepalive.time before the second ping, not 8 s

Exit code 1: there is a ✘.

Example:
  edgesync doctor --config=/etc/edgesync/config.toml
`,
	},
	{
		name: "wal", subs: "stat dump verify repair", short: "look into the queue on flash: stat, dump, verify, repair",
		flags: "dir segments json since until entity action kind pending from limit all tail follow", text: walHelp,
	},
	{
		name: "devices", short: "the devices: how connected, seen when, what was refused", flags: "json", text: devicesHelp,
	},
	{
		name: "dead", subs: "list show retry drop", short: "events that the cloud refuses: list, show, retry, drop",
		flags: "json by-name entity tail follow", text: deadHelp,
	},
	{
		name: "replay", short: "have acknowledged events sent to the cloud once more",
		flags: "from to entity attributes copies dry-run stop", text: replayHelp,
	},
	{
		name: "audit", short: "say what became of the events, with sums that can be verified",
		flags: "from to out verify", text: auditHelp,
	},
	{
		name: "rules", subs: "try eval", flags: "json on-failure lang", text: rulesHelp,
		short: "show what the rule chains do; try, eval: without an agent",
	},
	{
		name: "reconnect", short: "have the agent connect to the cloud at once",
		text: `Usage:
  edgesync reconnect

Ends the session of the agent that runs on the data directory, if it has one,
and dials at once instead of waiting for the next attempt. Nothing is lost: what
was not acknowledged is sent again.

Example:
  edgesync reconnect && edgesync status
`,
	},
	{
		name: "sync", flags: "full", short: "have the agent ask the cloud for what belongs to it",
		text: `Usage:
  edgesync sync [--full]

The agent that runs on the data directory asks for the devices, credentials,
attributes and so on that belong to this edge, as it does at each connect. Exit
code 1: it has no link, or a sync runs already.

  --full   ask for everything, also for what the whole tenant shares (megabytes
           in a large tenant)

Example:
  edgesync sync --full
`,
	},
	{
		name: "log", subs: "debug info warn error", short: "show the agent's last log lines, or change how much it logs",
		text: `Usage:
  edgesync log
  edgesync log debug|info|warn|error

Without a level it prints the last lines that the agent on the data directory
has logged, at most 200 in 32 KiB, whatever log.target is. With one the agent
logs from that level on, until its next start.

Example:
  edgesync log debug; edgesync reconnect; sleep 5; edgesync log
`,
	},
	{
		name: "setup", flags: "form secret-stdin no-test no-service", short: "ask for what is needed, test it, write it, start the service",
		text: `Usage:
  edgesync setup [--form=uci|toml] [--secret-stdin] [--no-test] [--no-service]
                 [--SETTING=VALUE ...]

Asks for the server, the edge's key and secret, and the doors for devices; tries
the link; writes the configuration and, apart, the secret, both with mode 0600
(where systemd runs the service as the user edgesync, its group may read them,
too); and has the service of this machine run. What stood there before is kept
beside it, and its settings stay.

It writes /etc/config/edgesync on OpenWrt, else /etc/edgesync/config.toml; with
--config=FILE that file, "secret" beside it, and no service is touched. What is
said by a flag is not asked. Without a terminal flags say all.

  --form           of the file: uci is OpenWrt's own
  --secret-stdin   the secret is the first line of standard input
  --no-test        do not try the link: for images, and where there is none yet
  --no-service     leave the service alone

Exit code 1: there is no link, and nothing was written.

Example:
  edgesync setup
  edgesync setup --cloud.host=tb.example.org --cloud.routing_key=KEY \
                 --secret-stdin <secret
`,
	},
	{
		name: "check", flags: "connect within", short: "show the effective configuration, and what is wrong with it",
		text: `Usage:
  edgesync check [--connect [--within=TIME]]

Prints every setting, its value and where that came from; secrets as ***. Faults
end it with exit code 78. A port that is taken, a directory that cannot be used
and a name that does not resolve are warnings: they may be mended when the agent
starts.

  --connect   then take the way to the cloud, as edgesync doctor does; exit code
              1: it does not lead there
  --within    how long that may take, such as 20s; what is not looked at by then
              is said, with exit code 1

Example:
  edgesync check --config=/etc/edgesync/config.toml --connect
`,
	},
	{
		name: "backup", flags: "with-queue", short: "pack what data_dir holds into a file",
		text: `Usage:
  edgesync backup [--with-queue] FILE

Packs the data directory, as it is at one moment, into FILE (tar.gz, mode 0600;
"-" is stdout), beside a running agent or without one: what the cloud has
provisioned and what was made here. The configuration does not come along.

  --with-queue   events that wait and dead letters, too

The archive holds tokens and passwords: keep it as you keep the secret.

Example:
  edgesync backup --with-queue /mnt/sda1/gateway.tar.gz
`,
	},
	{
		name: "restore", flags: "yes", short: "put a backup in the place of what data_dir holds",
		text: `Usage:
  edgesync restore [--yes] FILE

The agent must be stopped. There must be room for what is there and for what
comes. Whatever cuts it off, a kill or a power cut, all is as before or all is
restored: the next command or agent finishes it.

With the queue of an old copy the agent sends again what was sent since; its log
and status say so. Never run the copy and the original at once: two agents with
one key throw each other out.

  --yes    do not ask before what is there is deleted

Example:
  edgesync restore /mnt/sda1/gateway.tar.gz
`,
	},
	{
		name: "reset", flags: "keep-config all yes", short: "forget all that data_dir holds",
		text: `Usage:
  edgesync reset --keep-config|--all [--yes]

Deletes devices, users, tokens, events that wait and dead letters. The agent
must be stopped.

  --keep-config   and nothing else
  --all           and the configuration with its secret: for the next owner
  --yes           do not ask before

Example:
  edgesync reset --keep-config
`,
	},
	{
		name: "bugreport", short: "pack what helps to find a fault into a file",
		text: `Usage:
  edgesync bugreport [FILE]

Writes FILE, else edgesync-TIME.tar.gz, with mode 0600: what edgesync doctor
finds, the configuration with secrets as ***, the agent's status, metrics and
last 200 log lines, the version, facts from /proc, and the names and sizes of
the files in data_dir. No events. It takes as long as doctor, and has some 100
KiB, at most 2 MiB. Names of devices and addresses are in it: look at it before
you send it.

Example:
  edgesync bugreport /tmp/report.tar.gz
`,
	},
	{
		name: "completion", subs: "bash zsh", short: "print what completes commands in bash or zsh",
		text: `Usage:
  edgesync completion bash|zsh

Prints a script for the shell's start file. ash, the shell of OpenWrt, has no
programmable completion: it completes names of files and programs only, and
nothing can be printed for it.

Example:
  eval "$(edgesync completion bash)"                   in ~/.bashrc
  eval "$(edgesync completion zsh)"                    in ~/.zshrc
`,
	},
	{
		name: "version", flags: "json", short: "print the version",
		text: `Usage:
  edgesync version [--json]

Prints the version, when its source was committed, what it was built with and
for, and the protocol that it speaks to the cloud.

  --json   one JSON object: version, committed, go, platform, protocol

Example:
  edgesync version --json
`,
	},
	{
		name: "help", short: "explain a command",
		text: `Usage:
  edgesync help [COMMAND]

Example:
  edgesync help wal
`,
	},
}
