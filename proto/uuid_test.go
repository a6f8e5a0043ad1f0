package proto

import "testing"

func TestUUIDText(t *testing.T) {
	const text = "784f394c-42b6-435a-983c-b7beff2784f9" // CONTRACT.md 5.3
	id, ok := ParseUUID(text)
	if msb, lsb := Halves(id); !ok || msb != 8669210807411032922 || lsb != -7476899250389416711 {
		t.Fatalf("halves %d, %d, ok %v", msb, lsb, ok)
	}
	if got := UUIDOf(8669210807411032922, -7476899250389416711); got != id {
		t.Errorf("UUIDOf = %x", got)
	}
	if got := FormatUUID(id); got != text {
		t.Errorf("FormatUUID = %s", got)
	}
	if got := FormatUUID(NullUUID); got != "13814000-1dd2-11b2-8080-808080808080" {
		t.Errorf("the null UUID is %s", got)
	}
	for _, bad := range []string{
		"", "784f394c", text + "0", "784f394c-42b6-435a-983c_b7beff2784f9",
		"784f394c-42b6-435a-983c-b7beff2784fx", "7-4f394c42b6-435a-983c-b7beff2784f9",
	} {
		if _, ok := ParseUUID(bad); ok {
			t.Errorf("ParseUUID(%q) succeeded", bad)
		}
	}
}

func TestNewUUID(t *testing.T) {
	seen := map[UUID]bool{}
	var ones, zeros UUID // bits that were set, and bits that were not, in some id
	for range 1000 {
		id := NewUUID()
		if id[6]>>4 != 4 || id[8]>>6 != 0b10 {
			t.Fatalf("%s is not of version 4 and the variant of RFC 9562", FormatUUID(id))
		}
		if seen[id] {
			t.Fatalf("%s came twice", FormatUUID(id))
		}
		seen[id] = true
		for i, b := range id {
			ones[i] |= b
			zeros[i] |= ^b
		}
	}
	for i := range ones {
		fixed := map[int]byte{6: 0xf0, 8: 0xc0}[i]
		if got := ^(ones[i] & zeros[i]); got != fixed {
			t.Errorf("byte %d: the bits %08b never change, want %08b", i, got, fixed)
		}
	}
}
