package script

// node is one piece of a script's syntax tree. Which fields mean something depends on op.
type node struct {
	op   nodeOp
	bin  operator // of nBinary, nAssign (opNone: plain), nUnary, nStep
	flag bool     // nMember, nIndex: null-safe; nStep: before the operand; nDo, nWhile: until; nCast: null fails; nFor*: see there
	at   int      // place in the source, in bytes
	s    string   // a name
	v    *Value   // a literal
	kids []*node
	fn   *function // nFunction

	// What resolving adds.
	done        bool // an expression: it is resolved
	last        bool // a statement: its value is the result; nMember: a method of maps; nAssign, nStep: of a name
	cost        int  // eighths of a step
	depth, slot int  // of a name; of nBlock what is unset when it is entered: from slot to to
	to          int
	path        []string // nMember, nIndex: keys into the argument slot
	f           *routine // nCall: whom it is for: a routine, a function or a method
	p           *proto
	m           *methods
}

// function is a function of the script: named, or a value of JavaScript.
type function struct {
	name   string
	params []string
	body   []*node
	least  int  // of the library: parameters that have to be given
	arrow  bool // `this` and the rest are not there anyway; body is one nReturn for `x => e`
}

// made is a node of an operation and its kids.
//
//go:noinline
func made(op nodeOp, at int, kids ...*node) *node {
	return &node{op: op, at: at, kids: clones(kids)}
}

// add adds a kid.
//
//go:noinline
func (n *node) add(kid *node) { n.kids = append(n.kids, kid) }

// clones lets the arguments of made stay on the stack.
//
//go:noinline
func clones(kids []*node) []*node { return append([]*node(nil), kids...) }

type nodeOp uint8

const (
	nLiteral  nodeOp = iota // v
	nName                   // s
	nMember                 // kids[0].s
	nIndex                  // kids[0][kids[1]]
	nCall                   // kids[0](kids[1:])
	nNew                    // new s(kids...)
	nList                   // [kids...]
	nMap                    // kids are keys and values by turns; a key is any expression
	nUnary                  // bin kids[0]
	nBinary                 // kids[0] bin kids[1]
	nAnd                    // kids[0] && kids[1]
	nOr                     // kids[0] || kids[1]
	nFirst                  // kids[0] or kids[1] of TBEL, kids[0] ?? kids[1] of JavaScript
	nCond                   // kids[0] ? kids[1] : kids[2]; without kids[2]: null
	nAssign                 // kids[0] bin= kids[1]
	nStep                   // ++ or --; bin is opAdd or opSub
	nCast                   // (s) kids[0]
	nFunction               // a function as a value
	nTemplate               // texts and values, joined
	nRegexp                 // /s/v
	nTypeof                 // typeof kids[0]
	nDelete                 // delete kids[0]
	nComma                  // kids[0], kids[1]
	nVoid                   // void kids[0]
	nProject                // (kids[0] in kids[1] if kids[2])
	nEmpty                  // nothing
	nBlock                  // { kids... }
	nVar                    // var s = kids[0]; kids may be empty
	nVars                   // several nVar of JavaScript
	nExpr                   // kids[0];
	nIf                     // if (kids[0]) kids[1] else kids[2]
	nFor                    // for (kids[0]; kids[1]; kids[2]) kids[3]; any may be nil
	nEach                   // for (s : kids[0]) kids[1]; of JavaScript bin opIn: over keys, flag: var, to: let
	nWhile                  // while (kids[0]) kids[1]; flag: until
	nDo                     // do kids[1] while (kids[0]); flag: until
	nSwitch                 // switch (kids[0]) with kids[1:] of nCase
	nCase                   // case kids[0]: kids[1:]; kids[0] is nil for default
	nBreak                  // break
	nContinue               // continue
	nReturn                 // return kids[0]
	nDeclare                // function s ... as a statement
	nTry                    // try kids[0] catch (s) kids[1] finally kids[2]; the last two may be nil
	nThrow                  // throw kids[0]
	nAssert                 // assert kids[0] of TBEL

	nConst    // v: what a name stands for; made by resolving, as all that follows
	nVariable // the variable at depth and slot
	nArgument // the argument at slot
	nUnknown  // s, which is nothing: it fails
	nCompare  // a comparison of TBEL; flag: of a path with a literal
)

// operator is an operator of two operands, or one.
type operator uint8

const (
	opNone operator = iota
	opAdd
	opSub
	opMul
	opDiv
	opMod
	opPow
	opShl
	opShr
	opUshr
	opAnd
	opOr
	opXor
	opLess
	opLessEq
	opMore
	opMoreEq
	opEq
	opNotEq
	opSame // === of JavaScript
	opNotSame
	opInstance
	opContains
	opMatches // ~=
	opSounds  // soundslike
	opSimilar // strsim
	opIn
	opNot
	opMinus
	opPlus
	opInvert
	opLogicAnd // while parsing only: they become nAnd, nOr, nFirst
	opLogicOr
	opFirst
)
