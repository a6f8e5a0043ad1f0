package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	pb "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// describer turns what Parse has read into descriptors for Google's implementation, so that the two
// implementations can be compared.
type describer struct {
	file     *descriptorpb.FileDescriptorProto
	messages map[*Message]string
	enums    map[*enum]string
}

func (d *describer) message(m *Message) string {
	if name, ok := d.messages[m]; ok {
		return "." + name
	}
	name := fmt.Sprintf("M%d", len(d.messages))
	d.messages[m] = name
	p := &descriptorpb.DescriptorProto{Name: &name}
	d.file.MessageType = append(d.file.MessageType, p)
	for i := range m.oneofs {
		name := fmt.Sprintf("oneof%d", i)
		p.OneofDecl = append(p.OneofDecl, &descriptorpb.OneofDescriptorProto{Name: &name})
	}
	for i := range m.fields {
		f := m.fields[i]
		label := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
		if f.repeated {
			label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED
		}
		fp := &descriptorpb.FieldDescriptorProto{
			Name: &f.name, JsonName: &f.json, Number: pb.Int32(int32(f.number)), Label: &label,
		}
		d.typeOf(f, fp)
		if f.oneof > 0 {
			fp.OneofIndex = pb.Int32(int32(f.oneof - 1))
		}
		p.Field = append(p.Field, fp)
	}
	for i := range m.fields { // their synthetic oneofs stand behind the others
		if f := m.fields[i]; f.presence && f.oneof == 0 && f.kind != kindMessage {
			p.Field[i].Proto3Optional = pb.Bool(true)
			p.Field[i].OneofIndex = pb.Int32(int32(len(p.OneofDecl)))
			p.OneofDecl = append(p.OneofDecl, &descriptorpb.OneofDescriptorProto{Name: pb.String("_X" + f.name)})
		}
	}
	return "." + name
}

func (d *describer) typeOf(f *field, p *descriptorpb.FieldDescriptorProto) {
	switch f.kind {
	case kindMessage:
		p.Type, p.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), pb.String(d.message(f.message))
	case kindEnum:
		name, ok := d.enums[f.enum]
		if !ok {
			name = fmt.Sprintf("E%d", len(d.enums))
			d.enums[f.enum] = name
			e := &descriptorpb.EnumDescriptorProto{Name: &name}
			value := func(n int32) {
				e.Value = append(e.Value, &descriptorpb.EnumValueDescriptorProto{
					Name: pb.String(f.enum.names[n]), Number: pb.Int32(n),
				})
			}
			value(f.enum.first)
			for n := range f.enum.names {
				if n != f.enum.first {
					value(n)
				}
			}
			d.file.EnumType = append(d.file.EnumType, e)
		}
		p.Type, p.TypeName = descriptorpb.FieldDescriptorProto_TYPE_ENUM.Enum(), pb.String("."+name)
	default:
		v := descriptorpb.FieldDescriptorProto_Type_value["TYPE_"+string(bytes.ToUpper([]byte(scalars[f.kind])))]
		p.Type = descriptorpb.FieldDescriptorProto_Type(v).Enum()
	}
}

// describe returns Google's descriptor of a message.
func describe(t testing.TB, m *Message) protoreflect.MessageDescriptor {
	t.Helper()
	d := describer{
		file:     &descriptorpb.FileDescriptorProto{Name: pb.String("f"), Syntax: pb.String("proto3")},
		messages: map[*Message]string{}, enums: map[*enum]string{},
	}
	d.message(m)
	file, err := protodesc.NewFile(d.file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().ByName("M0")
}

// plain makes JSON comparable: numbers by their value, because the two implementations write
// floating-point numbers differently.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		d, _ := strconv.ParseFloat(string(v), 64)
		return d
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
	}
	return v
}

func readJSON(t *testing.T, text []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return plain(v)
}

// FuzzAppendJSON compares with Google's implementation: the same JSON from what it reads, and an
// error for what it refuses.
func FuzzAppendJSON(f *testing.F) {
	for _, text := range []string{
		"09000000000000f83f 15cdcccc3d 18ffffffffffffffffff01 20ffffffffffffffffff01",
		"8a0102 0805 8a0102 1001", "9201040102800190 0105", "c80105d20100da01020801", "c3060b0cc4061807",
		"720661226 3c3a40a", "c006 05", "aa0103000109 8001feffffffffffffffff01", "e00100e80100fa0100",
		"da01020801da01021001", "18808080808010", "7202c328", "a20100a2010208 05",
	} {
		f.Add(unhex(f, text))
	}
	m := parse(f, everything)
	desc := describe(f, m)
	f.Fuzz(func(t *testing.T, wire []byte) {
		got, err := m.AppendJSON(nil, wire)
		other := dynamicpb.NewMessage(desc)
		otherErr := pb.UnmarshalOptions{RecursionLimit: maxLevels}.Unmarshal(wire, other)
		if err != nil {
			if otherErr == nil && err != errTooLarge && err != errTooDeep {
				t.Fatalf("%x: refused: %v", wire, err)
			}
			return
		}
		if !json.Valid(got) {
			t.Fatalf("%x: %s", wire, got)
		}
		if otherErr != nil {
			// We do not look into a message that a later member of its oneof replaces.
			if !bytes.Contains(wire, []byte{0xda, 0x01}) {
				t.Fatalf("%x: taken for %s, but %v", wire, got, otherErr)
			}
			return
		}
		want, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(other)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := readJSON(t, got), readJSON(t, want); !reflect.DeepEqual(a, b) {
			t.Fatalf("%x\ngot  %s\nwant %s", wire, got, want)
		}
	})
}

// FuzzAppendWire expects that Google's implementation and ours read the same from what we write.
func FuzzAppendWire(f *testing.F) {
	for _, text := range []string{
		`{"d":1.5,"f":"0.1","i32":-1,"i64":"-1","u32":4294967295,"u64":"18446744073709551615"}`,
		`{"s32":-2,"s64":"1","f32":1,"f64":2,"sf32":-1,"sf64":-2}`,
		`{"b":true,"s":"a","by":"-_8=","mode":"AN"}`,
		`{"maybe":0,"one":0,"list":[1,"2"],"texts":[""],"inner":{"at":0},"modes":["ON",7]}`,
	} {
		f.Add([]byte(text))
	}
	m := parse(f, everything)
	desc := describe(f, m)
	f.Fuzz(func(t *testing.T, object []byte) {
		wire, err := m.AppendWire(nil, object)
		if err != nil {
			return
		}
		got, err := m.AppendJSON(nil, wire)
		if err != nil {
			if err != errTooLarge && err != errUTF8 {
				t.Fatalf("%s: %x: %v", object, wire, err)
			}
			return
		}
		other := dynamicpb.NewMessage(desc)
		if err := pb.Unmarshal(wire, other); err != nil {
			t.Fatalf("%s: %x: %v", object, wire, err)
		}
		want, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(other)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := readJSON(t, got), readJSON(t, want); !reflect.DeepEqual(a, b) {
			t.Fatalf("%s: %x\ngot  %s\nwant %s", object, wire, got, want)
		}
	})
}

// FuzzParse expects that no text makes Parse panic, and that a schema that it takes can be used.
func FuzzParse(f *testing.F) {
	f.Add(everything)
	f.Add(`syntax = "proto3"; message A { B b = 1; } message B { A a = 1; repeated B c = 2; }`)
	f.Add(`syntax='proto3';package a.b;message A { B b = 1; C c = 2; a.b.C d = 3; b.C e = 4; } ` +
		`message B {} enum C { X = -0x1; }`)
	f.Add(`syntax = "proto3"; service S { rpc F (A) returns (A) { option x = { a: "}" }; } } ` +
		`message A { reserved 1 to max; repeated A m = 2; }`)
	f.Fuzz(func(t *testing.T, text string) {
		m, err := Parse(text)
		if err != nil {
			return
		}
		b, err := m.AppendJSON(nil, []byte{0x0a, 0, 0x10, 1, 0x1a, 2, 8, 0})
		if err == nil && !json.Valid(b) {
			t.Fatalf("%s: %s", text, b)
		}
		if _, err := m.AppendWire(nil, []byte(`{"a":1,"b":{}}`)); err == nil && b == nil {
			t.Fatal("no JSON")
		}
	})
}
