// Package schema translates between protobuf and JSON by the proto3 schemas of device profiles, as
// ThingsBoard's transports do. It knows nothing of topics, devices or values: JSON that comes out
// of it goes through package payload like a device's own.
//
//	text of a schema ──Parse──▶ Message: the last message at the top of the schema
//	wire bytes ──Message.AppendJSON──▶ JSON        telemetry, attributes, answers to commands
//	JSON ──Message.AppendWire──▶ wire bytes        commands
//
// # Rules
//
// They are those of the server: of its source (DynamicProtoUtils, its fork of protobuf-dynamic,
// ProtoConverter), and of the JSON mapping in protobuf-java, which it uses with default values
// included.
//
//   - The payload is the last message that is declared at the top of the schema. Nested messages do
//     not count.
//   - Imports, extensions, groups, maps and required fields are refused. (For a map, the server's
//     builder of schemas refers to a type that does not exist.) Options are ignored, [packed=false]
//     and json_name too.
//   - The name of a field in JSON is in lowerCamelCase: current_fw becomes currentFw.
//   - An absent field has its default value in JSON. Optional fields, members of a oneof and
//     messages, whose absence can be seen, are left out instead. An absent list is [].
//   - 64-bit integers are JSON strings, bytes are base64. Enumerations are names, or numbers where
//     the schema has no name. Float and double have the digits that Java writes; NaN and the
//     infinities are strings.
//   - Unknown fields, and fields whose wire type is not that of the schema, are ignored. Strings
//     must be UTF-8.
//
// One rule differs: the server does not save a profile with reserved or option in a message; here
// both are ignored.
//
// # Bounds
//
// A schema has at most [MaxText] bytes, which bounds all its counts. JSON has at most [MaxJSON]
// bytes, because a message of two bytes can have a thousand default values. Messages nest at most
// 100 deep, as in protobuf-java. A [Message] does not change once it is parsed, and many goroutines
// may use it; the package has no other state.
//
// # Files
//
// scan.go, parse.go the text of schemas; message.go what they become; decode.go protobuf to JSON;
// encode.go JSON to protobuf.
package schema
