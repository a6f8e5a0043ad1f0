// Package uci reads a configuration file of OpenWrt, such as /etc/config/network, as the program
// uci does. testdata holds what the real program made of an odd file, and the tests its answers to
// wrong ones.
//
// The grammar: lines of words. A word is any mixture of bare text, '…', which is taken as it
// stands, and "…", in which a backslash takes the next character as it stands; both may span lines.
// Outside of quotes a backslash does the same, # begins a comment, also within a word, and ; ends a
// command.
//
//	package NAME            is read and does not matter
//	config TYPE [NAME]      begins a section; a name that comes again continues that section
//	option NAME [VALUE]     sets an option; the last counts
//	list NAME [VALUE]       appends to an option
//
// An option without a value, or with an empty one, is as if it were not there. uci drops what
// stands behind a ; without a word; here it is a notice, since the person who wrote it meant
// something.
package uci
