package cli

import (
	"fmt"
	"strings"

	"edgesync/sync/config"
	"edgesync/sync/plain"
)

// page is what is known about a command: its help and its completion are made from it.
type page struct {
	name  string
	subs  string // words that may follow, behind blanks
	flags string // of its own, without dashes, behind blanks
	short string // what it does, in one line of at most 60 columns
	text  string // the usage, and all else, in lines of at most 80 columns
}

const about = `edgesync makes this machine a ThingsBoard Edge: devices talk to it as they
would to ThingsBoard, every event is on flash before it is accepted, and every
event goes to the cloud as soon as there is a link.

Usage:
`

const general = `
"edgesync help COMMAND" explains a command, "edgesync help run" every setting.

Example:
  edgesync run --cloud.host=tb.example.org --cloud.routing_key=KEY \
               --cloud.routing_secret_file=/etc/edgesync/secret

Configuration is read from the file named by --config, else
/etc/edgesync/config.toml, else /etc/config/edgesync, else ./config.toml; after
it from the environment (EDGESYNC_CLOUD_HOST and so on), then from flags; later
wins. config.toml.example describes every key.

Exit codes: 0 fine, 1 failed, 2 wrong usage, 75 another agent holds the data
directory, 78 wrong configuration.
`

// help is the list of all commands.
func help() string {
	var b strings.Builder
	b.WriteString(about)
	for i := range pages {
		b.WriteString(plain.Fill(fmt.Sprintf("  edgesync %-10s ", pages[i].name), pages[i].short, 22))
	}
	b.WriteString(general)
	return b.String()
}

// Page is the help of a command, for who makes a manual of it.
type Page struct {
	Name  string // of the command
	Short string // what it does, in a few words
	Text  string // lines of at most 80 columns; those of lists and examples begin with blanks
}

// Pages are the help of all commands, in the order of the list.
func Pages() (list []Page) {
	for i := range pages {
		_, text, _ := strings.Cut(pages[i].String(), "\n\n")
		list = append(list, Page{pages[i].name, pages[i].short, text})
	}
	return list
}

// pageOf is the page of a command; nil if there is none.
func pageOf(command string) *page {
	for i := range pages {
		if pages[i].name == command {
			return &pages[i]
		}
	}
	return nil
}

// commands are the names of all commands.
func commands() (names []string) {
	for i := range pages {
		names = append(names, pages[i].name)
	}
	return names
}

// String is the page as `edgesync help` prints it.
func (p *page) String() string {
	text := "edgesync " + p.name + ": " + p.short + "\n\n" + p.text
	if p.name != "run" {
		return text
	}
	var b strings.Builder
	b.WriteString(text)
	for line := range strings.Lines("  --config " + "the configuration file\n" + config.Help()) {
		name, what, _ := strings.Cut(strings.TrimSpace(line), " ")
		b.WriteString("  " + name + "\n" + plain.Fill("      ", what, 6))
	}
	return b.String()
}

// help prints what is known about a command; "" is all of them.
func (p *program) help(command string) int {
	switch page := pageOf(command); {
	case command == "":
		fmt.Fprint(p.stdout, help())
	case page == nil:
		return p.unknown(command)
	default:
		fmt.Fprint(p.stdout, page.String())
	}
	return exitOK
}
