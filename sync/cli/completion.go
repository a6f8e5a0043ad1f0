package cli

import (
	"fmt"
	"strings"

	"edgesync/sync/config"
)

// completion prints a script that completes commands, what follows them, and flags.
func (p *program) completion(args []string) int {
	t := p.newTool("completion", "")
	rest, code, done := t.parse(args, 1)
	switch {
	case done:
		return code
	case len(rest) == 1 && rest[0] == "ash":
		return p.usage("completion", "ash has no programmable completion (it completes names of files and programs only), "+
			"so there is nothing to print for it: edgesync help lists the commands, edgesync help COMMAND its flags")
	case len(rest) == 0 || rest[0] != "bash" && rest[0] != "zsh":
		return p.usage("completion", "completion takes bash or zsh")
	case rest[0] == "zsh":
		fmt.Fprintln(p.stdout, "autoload -U +X bashcompinit && bashcompinit")
	}
	var cases strings.Builder
	for i := range pages {
		g := &pages[i]
		words := g.subs
		for _, f := range strings.Fields(g.flags) {
			words += " --" + f
		}
		if g.name == "help" {
			words = strings.Join(commands(), " ")
		}
		if words != "" {
			cases.WriteString("\t" + g.name + ") w='" + strings.TrimSpace(words) + "';;\n")
		}
	}
	settings := " --config"
	for line := range strings.Lines(config.Help()) {
		settings += " " + strings.Fields(line)[0]
	}
	fmt.Fprintf(p.stdout, `_edgesync() {
	local w cur="${COMP_WORDS[COMP_CWORD]}"
	case "${COMP_WORDS[1]}" in
%s	esac
	case "$cur" in
	-*) w="$w%s";;
	esac
	if [ "$COMP_CWORD" -eq 1 ]; then w='%s'; fi
	COMPREPLY=($(compgen -W "$w" -- "$cur"))
}
complete -o default -F _edgesync edgesync
`, cases.String(), settings, strings.Join(commands(), " "))
	return exitOK
}
