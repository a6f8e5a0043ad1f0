// Package schema translates between protobuf and JSON by the proto3 schemas of device profiles, as ThingsBoard's transports do. It knows
// nothing of topics, devices or values: what comes out of it goes through the same parser as a device's own JSON.
//
//	text of a schema ──Parse──▶ Message, its last one at the top
//	wire bytes ──Message.AppendJSON──▶ JSON        telemetry, attributes, answers to commands
//	JSON ──Message.AppendWire──▶ wire bytes        commands
//
// # As the server does it
//
// Read in the server's source (DynamicProtoUtils, its fork of protobuf-dynamic, ProtoConverter) and in protobuf-java's JSON mapping, which it
// uses with default values included:
//
//   - The payload is the last message that is declared at the top of the schema; nested ones do not count.
//   - Imports, extensions, groups, maps and required fields are refused; of maps the server's builder of schemas makes a type that is not there. Options are ignored, so [packed=false] and json_name too.
//   - A field is called by its lowerCamelCase name in JSON: current_fw becomes currentFw.
//   - An absent field has its default value in JSON, unless its absence can be seen: optional fields, members of a oneof and
//     messages are left out then. An absent list is [].
//   - 64-bit integers are JSON strings, bytes are base64, enumerations are names, or numbers where the schema has no name. Float and double have the
//     digits that Java writes; NaN and the infinities are strings.
//   - Unknown fields, and fields with another wire type than the schema says, are ignored. Strings must be UTF-8.
//
// A difference: the server saves no profile with reserved or options in a message, here they are ignored.
//
// # Bounds
//
// A schema has at most [MaxText] bytes, which bounds all counts. JSON has at most [MaxJSON] bytes: a message of two bytes can have a
// thousand default values. Messages nest at most 100 deep, as in protobuf-java. Nothing here keeps state: a Message does not change once it is
// parsed, and all may use it at a time.
package schema
