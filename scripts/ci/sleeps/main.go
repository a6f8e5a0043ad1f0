// Command sleeps finds tests that sleep in real time. It reads the test files of each directory
// below the working one and prints every call of time.Sleep that may run outside a synctest bubble,
// one a line; it ends with exit code 1 if there is any.
//
// A call counts as inside a bubble if this can be shown from the package's own files:
//
//   - It stands in a function literal that is handed to synctest.Test, or to a function of the
//     package that uses that parameter only inside a bubble itself.
//   - It stands in a function, or a method with a name that is not exported, all references to
//     which, in test files and others, stand inside a bubble; at least one has to.
//   - It stands in a function that calls synctest.Wait too, which panics outside a bubble.
//   - It stands in a function whose comment has a line "//sleeps:bubble REASON": all its callers
//     are inside, and the reason says why the code does not show it.
//   - It stands in a method of a type that nothing outside a bubble mentions, except signatures.
//
// References are matched by name alone, so two methods of one name stand and fall together.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	found, err := search(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, "sleeps:", err)
		os.Exit(1)
	}
	for _, pos := range found {
		fmt.Fprintf(os.Stderr, "sleeps: %s: may sleep outside a synctest bubble\n", pos)
	}
	if len(found) > 0 {
		os.Exit(1)
	}
}

// search returns where tests below root may sleep outside a bubble, by file and line.
func search(root string) (found []token.Position, err error) {
	dirs := map[string][]string{}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "build" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".go") {
			dirs[filepath.Dir(path)] = append(dirs[filepath.Dir(path)], path)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		p := &pkg{
			fset: token.NewFileSet(), bubbled: map[string]map[int]bool{"synctest.Test": {1: true}},
			outside: map[string]bool{"": true}, seen: map[string]bool{},
		}
		for _, file := range dirs[dir] {
			f, err := parser.ParseFile(p.fset, file, nil, parser.SkipObjectResolution|parser.ParseComments)
			if err != nil {
				return nil, errors.Join(err, errors.New(dir+" does not parse"))
			}
			p.files = append(p.files, f)
		}
		found = append(found, p.sleeps()...)
	}
	return found, nil
}

// pkg is one directory. A context, the key of its maps, is a name: of a function, of a method with
// a dot before it, of a type. The context "" is outside every bubble: variables of the package, the
// functions that `go test` calls, and all that is no test.
type pkg struct {
	fset    *token.FileSet
	files   []*ast.File
	funcs   map[string][]*ast.FuncDecl
	local   map[string]bool         // names that something else than a function has, somewhere
	bubbled map[string]map[int]bool // functions to the parameters that they call inside a bubble only
	edges   []edge
	sleep   []sleep
	outside map[string]bool
	seen    map[string]bool // names that something refers to
}

// edge says that the context from refers to the name to, outside of literals that run in a bubble.
type edge struct{ from, to string }

// sleep is a call of time.Sleep in a context, outside of literals that run in a bubble.
type sleep struct {
	in, receiver string
	pos          token.Position
}

func (p *pkg) sleeps() (found []token.Position) {
	p.collect()
	for grown := true; grown; {
		grown = false
		for _, fns := range p.funcs {
			if p.learn(fns) {
				grown = true
			}
		}
	}
	for _, f := range p.files {
		for _, d := range f.Decls {
			p.declaration(f, d)
		}
	}
	for grown := true; grown; {
		grown = false
		for _, e := range p.edges {
			if p.outside[e.from] && !p.outside[e.to] {
				p.outside[e.to] = true
				grown = true
			}
		}
	}
	for _, s := range p.sleep {
		if !p.inside(s) {
			found = append(found, s.pos)
		}
	}
	slices.SortFunc(found, func(a, b token.Position) int {
		return cmp.Or(strings.Compare(a.Filename, b.Filename), a.Line-b.Line)
	})
	return found
}

// inside reports whether a sleep runs in bubbles only, by the rules for functions and methods.
func (p *pkg) inside(s sleep) bool {
	if s.receiver != "" {
		if p.seen[s.receiver] && !p.outside[s.receiver] {
			return true
		}
		if ast.IsExported(strings.TrimPrefix(s.in, ".")) {
			return false
		}
	}
	return s.in != "" && p.seen[s.in] && !p.outside[s.in]
}

// collect fills what is known by name: the functions and methods, and the names that a body or a
// signature declares for itself.
func (p *pkg) collect() {
	p.funcs, p.local = map[string][]*ast.FuncDecl{}, map[string]bool{}
	for _, f := range p.files {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				p.funcs[fn.Name.Name] = append(p.funcs[fn.Name.Name], fn)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok == token.DEFINE {
					for _, x := range n.Lhs {
						if id, ok := x.(*ast.Ident); ok {
							p.local[id.Name] = true
						}
					}
				}
			case *ast.Field:
				for _, id := range n.Names {
					p.local[id.Name] = true
				}
			case *ast.ValueSpec:
				for _, id := range n.Names {
					p.local[id.Name] = true
				}
			}
			return true
		})
	}
}

// learn notes which parameters the functions of one name call inside a bubble only, and reports
// whether there is a new one. All of that name have to, and nothing else may have it.
func (p *pkg) learn(fns []*ast.FuncDecl) (grown bool) {
	name := fns[0].Name.Name
	if p.local[name] {
		return false
	}
	for at := range 8 {
		if p.bubbled[name][at] || slices.ContainsFunc(fns, func(fn *ast.FuncDecl) bool { return !p.callsInside(fn, at) }) {
			continue
		}
		if p.bubbled[name] == nil {
			p.bubbled[name] = map[int]bool{}
		}
		p.bubbled[name][at], grown = true, true
	}
	return grown
}

// callsInside reports whether a function's parameter at a position is a function that it uses
// inside a bubble only.
func (p *pkg) callsInside(fn *ast.FuncDecl, at int) bool {
	n := 0
	for _, field := range fn.Type.Params.List {
		for _, name := range field.Names {
			if _, ok := field.Type.(*ast.FuncType); ok && n == at && fn.Body != nil {
				outside, inside := p.uses(fn.Body, name.Name)
				return inside > 0 && outside == 0
			}
			n++
		}
	}
	return false
}

// uses counts how often a body mentions a name inside and outside of what runs in a bubble.
func (p *pkg) uses(body ast.Node, name string) (outside, inside int) {
	total := 0
	ast.Inspect(body, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && id.Name == name {
			total++
		}
		return true
	})
	p.walk(body, func(n ast.Node) {
		if id, ok := n.(*ast.Ident); ok && id.Name == name {
			outside++
		}
	})
	return outside, total - outside
}

// walk visits the nodes below a node, except arguments that run in a bubble.
func (p *pkg) walk(root ast.Node, visit func(ast.Node)) {
	ast.Inspect(root, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(p.bubbled[called(call)]) == 0 {
			if n != nil {
				visit(n)
			}
			return true
		}
		visit(call)
		p.walk(call.Fun, visit)
		for i, arg := range call.Args {
			if !p.bubbled[called(call)][i] {
				p.walk(arg, visit)
			}
		}
		return false
	})
}

// called is the name of the function of a call: "f", "f" for x.f, "synctest.Test".
func called(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok && x.Name == "synctest" {
			return "synctest." + f.Sel.Name
		}
		return f.Sel.Name
	}
	return ""
}

func (p *pkg) isTest(f *ast.File) bool {
	return strings.HasSuffix(p.fset.File(f.Pos()).Name(), "_test.go")
}

// declaration notes what a declaration refers to, and where it sleeps.
func (p *pkg) declaration(f *ast.File, d ast.Decl) {
	test := p.isTest(f)
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Body == nil || vouched(d.Doc) {
			return
		}
		in, receiver := d.Name.Name, receiverOf(d)
		switch {
		case receiver != "":
			if in = "." + in; ast.IsExported(d.Name.Name) {
				p.edges = append(p.edges, edge{receiver, in}) // somebody else may call it, through an interface
			}
		case !test, in == "init", in == "TestMain":
			in = ""
		default:
			for _, prefix := range []string{"Test", "Benchmark", "Fuzz", "Example"} {
				if strings.HasPrefix(in, prefix) {
					in = ""
					break
				}
			}
		}
		if !test {
			in, receiver = "", ""
		}
		p.note(in, receiver, d.Body, test)
	case *ast.GenDecl:
		for _, s := range d.Specs {
			in := ""
			if t, ok := s.(*ast.TypeSpec); ok && test {
				in = t.Name.Name
			}
			p.note(in, "", s, test)
		}
	}
}

// vouched reports whether the comment of a function gives a reason why its callers are in a bubble.
func vouched(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool {
		reason, ok := strings.CutPrefix(c.Text, "//sleeps:bubble ")
		return ok && strings.TrimSpace(reason) != ""
	})
}

// receiverOf is the name of a method's type, or "" of a function.
func receiverOf(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return ""
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// note takes down the names and the sleeps in a body that belongs to a context.
func (p *pkg) note(in, receiver string, body ast.Node, test bool) {
	selected := map[*ast.Ident]bool{}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			selected[n.Sel] = true
			p.seen["."+n.Sel.Name] = true
		case *ast.Ident:
			p.seen[n.Name] = p.seen[n.Name] || !selected[n]
		}
		return true
	})
	p.walk(body, func(n ast.Node) {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			p.edges = append(p.edges, edge{in, "." + n.Sel.Name})
			if test && isCall(n, "time", "Sleep") && !waits(innermost(body, n.Pos())) {
				p.sleep = append(p.sleep, sleep{in, receiver, p.fset.Position(n.Pos())})
			}
		case *ast.Ident:
			if !selected[n] {
				p.edges = append(p.edges, edge{in, n.Name})
			}
		}
	})
}

// isCall reports whether a selector is that function of that package.
func isCall(n ast.Node, pkg, name string) bool {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == pkg
}

// innermost is the body of the function literal around a position, or else the body given.
func innermost(body ast.Node, pos token.Pos) ast.Node {
	ast.Inspect(body, func(n ast.Node) bool {
		if lit, ok := n.(*ast.FuncLit); ok && lit.Body.Pos() <= pos && pos < lit.Body.End() {
			body = lit.Body
		}
		return true
	})
	return body
}

// waits reports whether a body calls synctest.Wait itself, not in a literal below it.
func waits(body ast.Node) (found bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		if _, ok := n.(*ast.FuncLit); ok {
			return false
		}
		found = found || n != nil && isCall(n, "synctest", "Wait")
		return true
	})
	return found
}
