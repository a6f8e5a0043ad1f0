package script

import (
	"errors"
	"runtime"
	"strings"
)

// Reason says why a script did not compile or gave no value.
type Reason uint8

// The reasons of an Error.
const (
	Syntax      Reason = iota // the text is no script of the language
	Unsupported               // the text may be a script, but uses what this engine does not execute
	Failed                    // the script ran and failed, as it would on a server
	Limit                     // the script ran beyond a bound of steps, depth, memory or size
	Internal                  // a fault of this engine; the script may be fine
)

// String names the reason.
//
//go:noinline
func (r Reason) String() string {
	return [...]string{"syntax error", "not supported", "script failed", "limit exceeded", "internal fault"}[r]
}

// Error is every error of Compile, Run and the conversion of a result.
type Error struct {
	Reason  Reason
	Message string // what happened
	Line    int    // of the script, from 1; 0 if it is not known
	Column  int    // in bytes, from 1; 0 if it is not known
}

func (e *Error) Error() string {
	s := e.Reason.String() + ": " + e.Message
	if e.Line > 0 {
		s += " (line " + decimal(e.Line) + ", column " + decimal(e.Column) + ")"
	}
	return s
}

// Is lets errors.Is(err, &Error{Reason: r}) ask for a reason only.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Reason == e.Reason && t.Message == "" || e == target
}

// failed, limitError and unsupported make what the evaluation panics with; Run turns it into an
// error. A panic unwinds the evaluation without a check after each step.
//
//go:noinline
func failed(message string) *Error { return &Error{Reason: Failed, Message: message} }

//go:noinline
func limitError(message string) *Error { return &Error{Reason: Limit, Message: message} }

//go:noinline
func unsupported(message string) *Error { return &Error{Reason: Unsupported, Message: message} }

// The same of a text with a word, the kind of a value or a number in the place of its %: to put
// texts together takes more code than to call a function.
//
//go:noinline
func failedOn(text, word string) *Error { return failed(filled(text, word)) }

//go:noinline
func noNumber(s string) *Error { return failedOn("For input string: %", quote(s)) }

//go:noinline
func noDigits(s string) *Error {
	return failedOn("Value: % is not numeric or hexDecimal format!", `"`+s+`"`)
}

//go:noinline
func failedKind(text string, v *Value) *Error { return failedOn(text, v.k.String()) }

//go:noinline
func failedAt(text string, n int) *Error { return failedOn(text, decimal(n)) }

//go:noinline
func limitAt(text string, n int) *Error { return limitError(filled(text, decimal(n))) }

//go:noinline
func unsupportedOn(text, word string) *Error { return unsupported(filled(text, word)) }

//go:noinline
func filled(text, word string) string { return strings.Replace(text, "%", word, 1) }

//go:noinline
func outOfBounds(i, n int) *Error {
	return failedAt(filled("index % is out of bounds for length %", decimal(i)), n)
}

// tooLong is the error of a message of n bytes.
func tooLong(n int) *Error {
	return limitAt(filled("a message of % bytes; at most % are allowed", decimal(n)), maxMessage)
}

// position turns a place in bytes into a line and a column.
//
//go:noinline
func position(source string, at int) (line, column int) {
	line, column = 1, 1
	for i := 0; i < at && i < len(source); i++ {
		if column++; source[i] == '\n' {
			line, column = line+1, 1
		}
	}
	return line, column
}

// thrownValue is what `throw` of JavaScript panics with.
type thrownValue struct{ v *Value }

// thrown makes an error of what a run panicked with; ok is false for what is none of ours.
func thrown(x any) (err *Error, ok bool) {
	switch e := x.(type) {
	case *Error:
		return e, true
	case *thrownValue:
		return failed(string(appendScriptText(nil, e.v, 0))), true
	case runtime.Error:
		// A fault of the engine must not end the agent: the message fails as with a script's fault.
		return &Error{Reason: Internal, Message: e.Error()}, true
	case string: // what a package of the library panics with
		return &Error{Reason: Internal, Message: e}, true
	}
	return nil, false
}
