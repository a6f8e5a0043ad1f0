package rules

import "edgesync/proto"

// ExportedID is the id of a chain that people have exported: on a server it may be another one.
var ExportedID = proto.UUID{0: 0xf1, 1: 0x1e, 6: 0x40, 8: 0x80}

// Export reads a rule chain as ThingsBoard's user interface exports it, {"ruleChain","metadata"},
// and returns it as a server would send it as the root chain of an edge: the head for
// Engine.Head and the metadata for Engine.Metadata. text is at most MaxMetadata. It is an error,
// too, if the engine would refuse them.
func Export(text []byte) (head, metadata []byte, err error) {
	if len(text) > MaxMetadata {
		return nil, nil, faultAt("the rule chain's export has more than % bytes", MaxMetadata)
	}
	t, err := parseFile(text)
	if err != nil {
		return nil, nil, faultOn("the rule chain's export: %", err.Error())
	}
	h, m, err := exported(t)
	if err != nil {
		return nil, nil, err
	}
	head, metadata = []byte(h.String()), []byte(m.String())
	read, err := readMetadata(metadata)
	if err == nil {
		_, err = read.compile()
	}
	if err != nil {
		return nil, nil, faultOn("the rule chain's export: %", err.Error())
	}
	return head, metadata, nil
}

func exported(t *tree) (head, metadata *tree, err error) {
	head, metadata = t.get("ruleChain"), t.get("metadata")
	if head == nil || head.kind != isObject || metadata == nil || metadata.kind != isObject {
		return nil, nil, fault(`no rule chain's export: it is an object with "ruleChain" and "metadata"`)
	}
	ref := (&Entity{"RULE_CHAIN", ExportedID}).ref()
	head.set("id", ref)
	head.set("root", boolTree(true))
	metadata.set("ruleChainId", ref)
	return head, metadata, nil
}
