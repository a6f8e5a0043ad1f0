package main

// cuts are made in files of the standard library and of the dependencies: text that each file holds
// once, and what is compiled in its place. Each keeps from the binary what the agent never does, or
// texts that nobody reads. None changes what the agent does: make race tests it without them, and
// make qemu with them.
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
}
