// Package script runs the scripts of rule chains: TBEL, the language of ThingsBoard's nodes, and
// the part of JavaScript that old nodes are written in. A script is compiled once, when its chain
// arrives, and then run on each message. It reaches nothing but its three arguments.
//
//	p, err := script.Compile(script.TBEL, text, script.Arguments) // Syntax, Unsupported
//	err = doc.Parse(data)                                         // once for all nodes
//	args := script.Args{Msg: &doc, Metadata: pairs, MsgType: kind}
//	v, err := p.Run(env, args)                                    // Failed, Limit and others
//	b, err = p.Language().AppendJSON(b[:0], v, script.AsStored)
//
// A Program never changes and runs on any number of goroutines. edgesync rules eval runs scripts
// from a file.
//
// # From text to value
//
//	lex.go, parse*.go       tokens and syntax tree (ast.go); both languages share them
//	compile.go, resolve.go  names become places in scopes, calls find whom they are for
//	exec.go, eval.go, call.go
//	                        statements, expressions and calls of the resolved tree
//	run.go, memory.go       one run: scopes, bounds, the arguments
//	json.go, result.go      a message as cells of its text, a result as JSON
//	value.go, number.go     values: Java's int, long, float and double are four kinds
//	ops.go, member.go       operators and members of TBEL (RULES.md 5.4)
//	script_*.go             what JavaScript computes (RULES.md 5.7)
//	routine.go, natives.go  what a script can call: functions of Go and the library
//	text.go, charset.go, list.go, bytes.go, math.go, precise.go, date.go, regex.go
//	                        those of Go
//	library/                functions, methods and classes in TBEL and in JavaScript
//
// A script mostly reads few keys of a message. A path of constant keys, as msg.a.b or
// metadata.deviceName, is looked up in the message's text: nothing is built, and where the key is
// compared with a literal nothing is allocated. The first use of msg that is more than that builds
// it whole, so that changes are seen everywhere.
//
// # Library
//
// Most of what scripts call (RULES.md 5.5) is written in the languages themselves, in
// library/*.txt. The program holds these texts packed, and compiles a routine when a script first
// calls it; it stays compiled. What is called for many values, what the languages cannot say and
// what decides about speed is of Go. Type book in routine.go says how the texts are read. After a
// change of them run go generate, which packs them again; a test fails where that was forgotten.
//
// # Size
//
// On a router (mipsle, without a floating point unit) the code is what costs, not the data: a line
// of Go is some 45 bytes, a function 200 more in tables of the runtime, a line of the library 15.
// So values are pointers, a tree is evaluated by one function instead of closures for each of its
// forms, what is a list of cases is a table, and small functions are kept from being copied into
// their callers (go:noinline). make cross tells what it comes to.
//
// # Bounds
//
// A run makes at most 100,000 steps: statements and rounds by the size of their expressions, calls,
// and work inside functions by its size; a statement of the library is an eighth of one. The
// dearest scripts that were found take 0.1 s of a PC's core. A run has at most 64 calls of its own
// functions open, holds at most 1 MiB of texts, lists and maps and makes at most 4 MiB of them in
// all, garbage included. What only an expression holds that is being evaluated counts to the 4 MiB.
// A script is at most 50,000 bytes and nested 200 deep, the arguments are at most 100,000 bytes,
// the JSON of a result 300,000. Beyond each of them the run ends with reason Limit, which no script
// can catch. A fault of the engine ends the run with reason Internal, not the agent.
//
// Inside, an error is a panic with an *Error: evaluation returns values only, and Run turns the
// panic into its error.
//
// # Likeness
//
// The law is what the engine of the server does, as ../RULES.md and the recordings say, also where
// it is odd: users' numbers depend on it. Metadata have the order of Java's HashMap, doubles the
// digits of Java 17. Inline lists and maps are read with the engine's quirks (RULES.md 5.4.10), so
// that a script gives the same here and there. What fails to compile there fails here too, as far
// as the recordings show it; a list behind a map in one inline map is taken unless it holds a
// literal.
//
// # Not supported
//
// It is an error with reason Unsupported, at compile time where the text shows it: of regular
// expressions look-around, back references, possessive quantifiers and intersections, and more than
// 2,000 states; locales but en-US, except for patterns of numbers; of String.format %h, %a, %g, %t
// and the flags # and (; the words with and import of TBEL; of JavaScript this,
// classes, new of own functions, generators, async, spread, destructuring, default parameters,
// labels, getters and prototypes. A let in the head of a for is one variable for all rounds.
//
// A zone by name (Europe/Berlin) needs zoneinfo on the machine. None is in the program, since it
// costs 450 kB and most routers have none either: such a script then fails at run time, with the
// reason. Offsets (+02:00) and UTC always work. Local times are those of Env.Zone.
package script
