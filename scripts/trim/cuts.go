package main

// cuts are made in files of the standard library, of the dependencies, and of the linker: text that
// each file holds once, and what is compiled in its place. Each keeps from the binary what the
// agent never does, what it has twice, or texts that nobody reads. None changes what the agent
// does: make race tests it without them, and make qemu with them.
var cuts = []struct{ file, old, now string }{
	// The counts of runtime/metrics, which nobody reads: 28 kB.
	{
		"internal/godebug/godebug.go", `registerMetric("/godebug/non-default-behavior/"+s.Name()+":events", s.nonDefault.Load)`,
		``,
	},
	// The tracer of runtime/trace, which is never on: 80 kB.
	{"runtime/traceruntime.go", "return trace.enabled\n", "return false\n"},
	{"runtime/traceruntime.go", `return trace.shutdown.Load()`, `return false`},
	// Sorting as for 12 values and less for these, and by a heap for more: each type that is sorted
	// has all of it, and is now 9 kB less, together 120 kB. What is equal may come in another
	// order, as before where it was more than 12 values.
	{
		"slices/sort.go", `pdqsortOrdered(x, 0, n, bits.Len(uint(n)))`,
		`if n <= 12 { insertionSortOrdered(x, 0, n) } else { heapSortOrdered(x, 0, n) }`,
	},
	{
		"slices/sort.go", `pdqsortCmpFunc(x, 0, n, bits.Len(uint(n)), cmp)`,
		`if n <= 12 { insertionSortCmpFunc(x, 0, n, cmp) } else { heapSortCmpFunc(x, 0, n, cmp) }`,
	},
	// What FIPS 140 demands that is tried before the first use, and is tried in its mode alone:
	// 30 kB.
	{"crypto/internal/fips140/rsa/cast.go", `fips140.CAST(`, `return; fips140.CAST(`},
	{"crypto/internal/fips140/ecdsa/cast.go", `fips140.CAST("ECDSA`, `return; fips140.CAST("ECDSA`},
	{"crypto/internal/fips140/ecdsa/cast.go", `fips140.CAST("DetECDSA`, `return; fips140.CAST("DetECDSA`},
	{"crypto/internal/fips140/sha3/cast.go", `fips140.CAST(`, `return; fips140.CAST(`},
	{"crypto/internal/fips140/mlkem/cast.go", `fips140.CAST(`, `return; fips140.CAST(`},

	// Host names are ASCII. The tables that make xn--… of others are there twice: 200 kB.
	{"net/http/request.go", "\n\t\"golang.org/x/net/idna\"\n", "\n"},
	{
		"net/http/request.go", `return idna.Lookup.ToASCII(v)`,
		`return "", errors.New("a host name that is not ASCII: write it as xn--…")`,
	},
	{"vendor/golang.org/x/net/http/httpproxy/proxy.go", "\n\t\"golang.org/x/net/idna\"\n", "\n"},
	{
		"vendor/golang.org/x/net/http/httpproxy/proxy.go", `return idna.Lookup.ToASCII(v)`,
		`return "", net.InvalidAddrError("a host name that is not ASCII: write it as xn--…")`,
	},
	{"vendor/golang.org/x/net/http/httpguts/httplex.go", "\n\t\"golang.org/x/net/idna\"\n", "\n"},
	{
		"vendor/golang.org/x/net/http/httpguts/httplex.go", `host, err = idna.ToASCII(host)`,
		`err = net.InvalidAddrError("a host name that is not ASCII: write it as xn--…")`,
	},
	{"golang.org/x/net/http/httpguts/httplex.go", "\n\t\"golang.org/x/net/idna\"\n", "\n"},
	{
		"golang.org/x/net/http/httpguts/httplex.go", `host, err = idna.ToASCII(host)`,
		`err = net.InvalidAddrError("a host name that is not ASCII: write it as xn--…")`,
	},
	{"golang.org/x/net/http2/transport_common.go", "\n\t\"golang.org/x/net/idna\"\n", "\n"},
	{
		"golang.org/x/net/http2/transport_common.go", `if a, err := idna.Lookup.ToASCII(host); err == nil && a != "" {`,
		`if a := ""; a != "" {`,
	},

	// Encrypted Client Hello, for which neither end has a key: 37 kB. Without keys the server's
	// answer is what it was.
	{"crypto/tls/ech.go", `if len(echKeys) == 0 {`, `if true {`},
	{"crypto/tls/ech.go", `return context.Open(outerAAD, payload)`, `return outerAAD, errInvalidECHExt`},
	{
		"crypto/tls/ech.go", `encryptedInner, err := ech.hpkeContext.Seal(serializedOuter, encodedInner)`,
		`encryptedInner, err := serializedOuter, errInvalidECHExt`,
	},
	{
		"crypto/tls/handshake_client.go", `if c.config.EncryptedClientHelloConfigList != nil {`,
		`if false && c.config.EncryptedClientHelloConfigList != nil {`,
	},

	// The server of gRPC, which the linker takes for a handler of net/http: 45 kB.
	{
		"google.golang.org/grpc/server.go", `func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {`,
		`func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { panic("grpc: no server")`,
	},
	// Calls as files for debugging, by an environment variable.
	{
		"google.golang.org/grpc/internal/binarylog/binarylog.go", `binLogger = NewLoggerFromConfigString(configStr)`,
		`_ = configStr`,
	},
	// Texts of gRPC's own log and of errors about descriptors: 70 kB.
	{
		"google.golang.org/grpc/internal/pretty/pretty.go", `func ToJSON(e any) string {`,
		`func ToJSON(e any) string { return fmt.Sprint(e)`,
	},
	{
		"google.golang.org/protobuf/internal/descfmt/stringer.go",
		`io.WriteString(s, formatListOpt(vs, true, r == 'v' && (s.Flag('+') || s.Flag('#'))))`, `io.WriteString(s, "[…]")`,
	},
	{
		"google.golang.org/protobuf/internal/descfmt/stringer.go",
		`io.WriteString(s, formatDescOpt(t, true, r == 'v' && (s.Flag('+') || s.Flag('#')), nil))`,
		`io.WriteString(s, string(t.FullName()))`,
	},

	// Messages that are not as protoc-gen-go makes ours: opaque, with lazy fields, or without
	// descriptor: 80 kB.
	{"google.golang.org/protobuf/internal/impl/message.go", `if opaqueInitHook(mi) {`, `if false {`},
	{
		"google.golang.org/protobuf/internal/impl/decode.go", `if mi.lazyOffset.IsValid() && lazyDecoding {`,
		`if false && lazyDecoding {`,
	},
	{
		"google.golang.org/protobuf/internal/impl/legacy_message.go",
		`func aberrantLoadMessageDesc(t reflect.Type, name protoreflect.FullName) protoreflect.MessageDescriptor {`,
		`func aberrantLoadMessageDesc(t reflect.Type, name protoreflect.FullName) protoreflect.MessageDescriptor { panic(t)`,
	},

	// A log in JSON, where ours is binary: 72 kB.
	{
		"github.com/tidwall/wal/wal.go", `dres := gjson.Get(*(*string)(unsafe.Pointer(&line)), "data")`,
		`dres := gjson.Result{}; _ = unsafe.Pointer(&line)`,
	},
	{"github.com/tidwall/wal/wal.go", `s := gjson.Get(*(*string)(unsafe.Pointer(&edata)), "data").String()`, `s := ""`},

	// Arithmetic of elliptic curves: each of these is written out in full, and is a multiplication
	// that is there too: a square, one by 1, and one by the square of what Montgomery's form
	// multiplies with. The results have one representation only, so they are the same: 170 kB.
	{"crypto/internal/fips140/nistec/fiat/p224.go", `p224Square(&e.x, &t.x)`, `p224Mul(&e.x, &t.x, &t.x)`},
	{
		"crypto/internal/fips140/nistec/fiat/p224.go", `p224FromMontgomery(&tmp, &e.x)`,
		`p224Mul((*p224MontgomeryDomainFieldElement)(&tmp), &e.x, &p224MontgomeryDomainFieldElement{1})`,
	},
	{
		"crypto/internal/fips140/nistec/fiat/p224.go", `p224ToMontgomery(&e.x, &tmp)`,
		`p224Mul(&e.x, (*p224MontgomeryDomainFieldElement)(&tmp), &p224MontgomeryDomainFieldElement{
			0xffffffff00000001, 0xffffffff00000000, 0xfffffffe00000000, 0xffffffff},
		)`,
	},
	{"crypto/internal/fips140/nistec/fiat/p256.go", `p256Square(&e.x, &t.x)`, `p256Mul(&e.x, &t.x, &t.x)`},
	{
		"crypto/internal/fips140/nistec/fiat/p256.go", `p256FromMontgomery(&tmp, &e.x)`,
		`p256Mul((*p256MontgomeryDomainFieldElement)(&tmp), &e.x, &p256MontgomeryDomainFieldElement{1})`,
	},
	{
		"crypto/internal/fips140/nistec/fiat/p256.go", `p256ToMontgomery(&e.x, &tmp)`,
		`p256Mul(&e.x, (*p256MontgomeryDomainFieldElement)(&tmp), &p256MontgomeryDomainFieldElement{
			0x3, 0xfffffffbffffffff, 0xfffffffffffffffe, 0x4fffffffd},
		)`,
	},
	{"crypto/internal/fips140/nistec/fiat/p384.go", `p384Square(&e.x, &t.x)`, `p384Mul(&e.x, &t.x, &t.x)`},
	{
		"crypto/internal/fips140/nistec/fiat/p384.go", `p384FromMontgomery(&tmp, &e.x)`,
		`p384Mul((*p384MontgomeryDomainFieldElement)(&tmp), &e.x, &p384MontgomeryDomainFieldElement{1})`,
	},
	{
		"crypto/internal/fips140/nistec/fiat/p384.go", `p384ToMontgomery(&e.x, &tmp)`,
		`p384Mul(&e.x, (*p384MontgomeryDomainFieldElement)(&tmp), &p384MontgomeryDomainFieldElement{
			0xfffffffe00000001, 0x200000000, 0xfffffffe00000000, 0x200000000, 0x1},
		)`,
	},
	{"crypto/internal/fips140/nistec/fiat/p521.go", `p521Square(&e.x, &t.x)`, `p521Mul(&e.x, &t.x, &t.x)`},
	{
		"crypto/internal/fips140/nistec/fiat/p521.go", `p521FromMontgomery(&tmp, &e.x)`,
		`p521Mul((*p521MontgomeryDomainFieldElement)(&tmp), &e.x, &p521MontgomeryDomainFieldElement{1})`,
	},
	{
		"crypto/internal/fips140/nistec/fiat/p521.go", `p521ToMontgomery(&e.x, &tmp)`,
		`p521Mul(&e.x, (*p521MontgomeryDomainFieldElement)(&tmp), &p521MontgomeryDomainFieldElement{0x0, 0x400000000000})`,
	},
	{
		"crypto/internal/fips140/edwards25519/scalar.go", `fiatScalarFromMontgomery(&ss, &s.s)`,
		`fiatScalarMul((*fiatScalarMontgomeryDomainFieldElement)(&ss), &s.s, &fiatScalarMontgomeryDomainFieldElement{1})`,
	},
	{
		"crypto/internal/fips140/edwards25519/scalar_fiat.go",
		`func fiatScalarToMontgomery(out1 *fiatScalarMontgomeryDomainFieldElement, arg1 *fiatScalarNonMontgomeryDomainFieldElement) {`,
		`func fiatScalarToMontgomery(out1 *fiatScalarMontgomeryDomainFieldElement, arg1 *fiatScalarNonMontgomeryDomainFieldElement) {
	fiatScalarMul(out1, (*fiatScalarMontgomeryDomainFieldElement)(arg1), &fiatScalarMontgomeryDomainFieldElement{
		0xa40611e3449c0f01, 0xd00e1ba768859347, 0xceec73d217f5be65, 0x399411b7c309a3d,
	}); return`,
	},

	// The linker's own tables of functions, for tracebacks. Without the values of arguments, which
	// are of no use without lines, and without what is empty at the end: 270 kB.
	{
		"cmd/link/internal/loader/loader.go", "\t\t\tfd = append(fd, l.resolve(r, a.Sym()))\n\t\t}\n\t}\n",
		`fd = append(fd, l.resolve(r, a.Sym()))
				if n := len(fd) - 1; n == abi.FUNCDATA_ArgInfo || n == abi.FUNCDATA_ArgLiveInfo {
					fd[n] = 0
				}
			}
		}
		for len(fd) > 0 && fd[len(fd)-1] == 0 {
			fd = fd[:len(fd)-1]
		}
		`,
	},
	{
		"cmd/link/internal/loader/loader.go", `func (l *Loader) NumFuncdata(i Sym) int {`,
		`func (l *Loader) NumFuncdata(i Sym) int { return len(l.Funcdata(i, nil))`,
	},
	// A function's name has neither the directories of its package nor its type arguments, which
	// tracebacks leave out in any case; the runtime looks for its own packages' by the whole name:
	// 340 kB.
	{
		"cmd/link/internal/ld/pcln.go", `		for s, off := range nameOffsets {
			symtab.AddCStringAt(int64(off), ctxt.loader.SymName(s))
		}`,
		`		for name, off := range offsets {
			symtab.AddCStringAt(int64(off), name)
		}`,
	},
	{
		"cmd/link/internal/ld/pcln.go", `		nameOffsets[s] = uint32(size)
		size += int64(len(ctxt.loader.SymName(s)) + 1) // NULL terminate
`,
		`		name := ctxt.loader.SymName(s)
		if i, j := strings.IndexByte(name, '['), strings.LastIndexByte(name, ']'); 0 < i && i < j {
			name = name[:i] + "[...]" + name[j+1:]
		}
		if kind, _, ok := strings.Cut(name, ":"); ok && kind == "type" {
			name = "type:.eq"
		} else if i := strings.LastIndexByte(name, '/'); !strings.HasPrefix(name, "internal/runtime/") && !strings.Contains(name, " ") &&
			!strings.HasPrefix(name[i+1:], "runtime.") && !strings.HasPrefix(name[i+1:], "reflect.") {
			name = name[i+1:]
		}
		if _, ok := offsets[name]; !ok {
			offsets[name] = uint32(size)
			size += int64(len(name) + 1) // NULL terminate
		}
		nameOffsets[s] = offsets[name]
`,
	},
	{
		"cmd/link/internal/ld/pcln.go", `	nameOffsets := make(map[loader.Sym]uint32, state.nfunc)
`,
		`	nameOffsets := make(map[loader.Sym]uint32, state.nfunc)
	offsets := make(map[string]uint32)
`,
	},
}
