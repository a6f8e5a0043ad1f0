package cli

import (
	"errors"
	"flag"
	"strconv"
	"strings"

	"edgesync/sync/config"
)

// parse reads the flags of a command and leaves its arguments, at most so many, to fs.Args. what
// says what is wrong (arrange); the error is flag.ErrHelp.
func parse(fs *flag.FlagSet, args, own []string, most int) (what string, err error) {
	args, what = arrange(fs, args, own, most)
	if args == nil {
		return what, nil
	}
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return "", err
	case err != nil: // package flag writes one dash, and all other messages here two
		return strings.Replace(err.Error(), " for flag -", " for flag --", 1), nil
	}
	return what, nil
}

// arrange brings the arguments of a command into the form that package flag reads without doubt:
// each value in one argument with its flag, then "--", then the arguments that are no flags, at
// most so many. "--flag value" and "--flag=value" are the same, for switches too. own are the names
// of the command's own flags, for suggestions. what says what is wrong, "" if nothing is; it shows
// names of flags and numbers of arguments only, because an argument that is misplaced may be a
// secret. With an argument too many there are both results: what is wrong with flags comes first.
func arrange(fs *flag.FlagSet, args, own []string, most int) (arranged []string, what string) {
	var rest []string
	behind := "" // the flag before
	take := func(i int) {
		switch {
		case len(rest) < most:
			rest = append(rest, args[i])
		case what == "":
			what = stray(fs, args[i], i+1, behind)
		}
		behind = ""
	}
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a == "--" {
			behind = ""
			for i++; i < len(args); i++ {
				take(i)
			}
			break
		}
		if len(a) < 2 || a[0] != '-' {
			take(i)
			continue
		}
		if isHelp(a) {
			return []string{a}, ""
		}
		name, value, joined := strings.Cut(strings.TrimPrefix(a[1:], "-"), "=")
		f := fs.Lookup(name)
		if f == nil {
			return nil, unknownFlag(fs, name, own)
		}
		behind = "--" + name
		next := ""
		if !joined && i+1 < len(args) {
			next = args[i+1]
		}
		switch {
		case isSwitch(f):
			word := value
			if !joined {
				word = next
			}
			// A digit behind a switch may be an argument.
			if state, ok := switchWord(word); ok && (joined || most == 0 || len(word) > 1) {
				a = behind + "=" + state
				if !joined {
					i++
				}
			}
		case joined:
		case i+1 == len(args):
			return nil, behind + " needs a value: write " + behind + "=value"
		case strings.HasPrefix(next, "="):
			return nil, behind + ": write " + behind + "=value, without blanks around the ="
		default:
			if n := strings.TrimLeft(next, "-"); n != next {
				if n, _, _ = strings.Cut(n, "="); fs.Lookup(n) != nil {
					return nil, behind + " needs a value, and the flag --" + n + " follows: write " + behind + "=value"
				}
			}
			a = behind + "=" + next
			i++
		}
		arranged = append(arranged, a)
	}
	return append(append(arranged, "--"), rest...), what
}

func isHelp(arg string) bool {
	return arg == "-h" || arg == "--h" || arg == "-help" || arg == "--help"
}

// isSwitch reports whether a flag stands for true without a value.
func isSwitch(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// switchWord is what a word means behind a switch, as package flag writes it.
func switchWord(word string) (state string, ok bool) {
	switch strings.ToLower(word) {
	case "true", "yes", "on", "1":
		return "true", true
	case "false", "no", "off", "0":
		return "false", true
	}
	return "", false
}

// stray says which argument no flag and no command wants.
func stray(fs *flag.FlagSet, arg string, number int, behind string) string {
	which := "argument " + strconv.Itoa(number) + " of \"edgesync " + fs.Name() + "\""
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "‐‑‒–—―−-"), "=")
	known := fs.Lookup(name) != nil
	switch {
	case strings.Trim(arg[:min(len(arg), 3)], "‐‑‒–—―−") == "" && arg != "":
		if !known {
			name = "name=value"
		}
		return which + " begins with a dash that is not the keyboard's: write --" + name
	case known:
		return which + " is no flag; did you mean --" + name + "?"
	}
	if behind != "" {
		which += ", behind " + behind + ","
	}
	return which + " is no flag, and an argument too many; write --name=value without blanks"
}

// unknownFlag says that there is no such flag, and which was most likely meant. A name is shown as
// far as it looks like one, and not what follows the name of a secret.
func unknownFlag(fs *flag.FlagSet, name string, own []string) string {
	if bare := strings.TrimLeft(name, "-"); bare != name || name == "" {
		switch {
		case bare == "":
			return "a flag needs a name: write --name=value"
		case fs.Lookup(bare) == nil:
			bare = "name"
		}
		return "a flag begins with two dashes: write --" + bare + "=value"
	}
	const secret = "cloud.routing_secret"
	end := 0
	for end < min(len(name), 40) {
		if c := name[end] | 0x20; (c < 'a' || c > 'z') && strings.IndexByte("0123456789._-", name[end]) < 0 {
			break
		}
		end++
	}
	shown := name[:end]
	if strings.HasPrefix(strings.ToLower(strings.ReplaceAll(shown, "-", "_")), secret) {
		shown = shown[:len(secret)]
	}
	meant := config.SuggestFlag(name, own...)
	if len(shown) < len(name) {
		if meant == "" {
			meant = config.SuggestFlag(shown, own...)
		}
		shown += "…"
	}
	what := "unknown flag --" + shown
	if meant != "" {
		what += "; did you mean " + meant + "?"
	}
	return what
}
