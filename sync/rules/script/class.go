package script

import (
	"math"
	"strconv"
	"strings"
)

// tbelNew is what makes a new object of a class; nil if there is none.
func tbelNew(class word) builtin {
	switch class {
	case wDate:
		return newDate
	case wString, wJavalangString:
		return func(r *run, a []*Value) *Value {
			if len(a) == 0 {
				return textOf("")
			}
			return r.text(r.javaText(a[0]))
		}
	case wJavautilArrayList:
		return func(r *run, _ []*Value) *Value { return r.list(nil) }
	}
	return nil
}

// The conversions of arguments, as the engine makes them: numbers to the wanted kind, numeric texts
// to numbers. null and everything else fails.

// tbelClass is Class.name(…) of TBEL; nil if there is none.
func tbelClass(class, name word) builtin {
	switch class {
	case wMath:
		return mathFunction(name)
	case wJSON:
		switch name {
		case wStringify:
			return func(r *run, a []*Value) *Value {
				need(a, 1, 1)
				w := writer{lang: TBEL, most: maxResult}
				return r.text(string(w.value(nil, a[0], 0)))
			}
		case wParse:
			return func(r *run, a []*Value) *Value {
				need(a, 1, 1)
				return r.parseJSON(r.argText(a[0]))
			}
		}
	case wDate:
		return dateClass(name)
	}
	return boxClass(class, name)
}

// parseJSON builds the value of a JSON text.
func (r *run) parseJSON(s string) *Value {
	r.step(len(s) >> 4)
	r.use(len(s))
	var d Doc
	if err := d.Parse(s); err != nil {
		e := err.(*Error)
		panic(e)
	}
	return d.build(r, 0, r.lang)
}

// boxClass is the functions of String, Integer, Long, Double, Float, Boolean and Character.
func boxClass(class, name word) builtin {
	switch wordOf(class.String() + "." + name.String()) {
	case wStringvalueOf:
		return func(r *run, a []*Value) *Value { need(a, 1, 1); return r.text(r.javaText(a[0])) }
	case wStringformat:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 64)
			if len(a) == 2 && a[1].k == Array {
				return r.text(formatJava(r, r.argText(a[0]), a[1].o.items))
			}
			return r.text(formatJava(r, r.argText(a[0]), a[1:]))
		}
	case wStringjoin:
		return func(r *run, a []*Value) *Value {
			need(a, 2, 64)
			items := a[1:]
			if len(items) == 1 && items[0].isList() {
				items = items[0].o.items
			}
			parts := make([]string, len(items))
			for i, v := range items {
				parts[i] = r.javaText(v)
				r.use(len(parts[i]))
			}
			return r.text(strings.Join(parts, r.argText(a[0])))
		}
	case wIntegerparseInt, wIntegervalueOf:
		return boxNumber(Int)
	case wLongparseLong, wLongvalueOf:
		return boxNumber(Long)
	case wDoubleparseDouble, wDoublevalueOf:
		return boxNumber(Double)
	case wFloatparseFloat, wFloatvalueOf:
		return boxNumber(Float)
	case wDoubleisNaN, wFloatisNaN:
		return ofOne(func(r *run, v *Value) *Value { return boolOf(math.IsNaN(argDouble(v))) })
	case wBooleanparseBoolean, wBooleanvalueOf:
		return ofOne(func(r *run, v *Value) *Value { return boolOf(strings.EqualFold(r.javaText(v), "true")) })
	case wIntegertoHexString:
		return ofOne(func(r *run, v *Value) *Value { return textOf(formatUint(uint64(uint32(argInt(v))), 16)) })
	case wIntegertoBinaryString:
		return ofOne(func(r *run, v *Value) *Value { return textOf(formatUint(uint64(uint32(argInt(v))), 2)) })
	case wIntegertoString, wLongtoString, wDoubletoString, wFloattoString:
		return ofOne(func(r *run, v *Value) *Value { return textOf(r.argText(v)) })
	case wCharacterisDigit:
		return ofOne(func(r *run, v *Value) *Value {
			s := r.argText(v)
			return boolOf(len(s) == 1 && s[0] >= '0' && s[0] <= '9')
		})
	case wCharacterisLetter:
		return ofOne(func(r *run, v *Value) *Value {
			s := r.argText(v)
			return boolOf(s != "" && nameStart([]rune(s)[0]) && s != "_" && s != "$")
		})
	}
	return nil
}

// ofOne is a function of one argument.
//
//go:noinline
func ofOne(f func(r *run, v *Value) *Value) builtin {
	return func(r *run, a []*Value) *Value {
		need(a, 1, 1)
		return f(r, a[0])
	}
}

// boxNumber is parseInt and valueOf of a class of numbers: they read the whole text, or convert a
// number.
//
//go:noinline
func boxNumber(kind Kind) builtin {
	return ofOne(func(r *run, v *Value) *Value {
		if v.isNumber() {
			return r.castTo(v, kind.String())
		}
		s := r.argText(v)
		size := 64
		if kind == Int || kind == Float {
			size = 32
		}
		if kind == Int || kind == Long {
			if n, err := strconv.ParseInt(s, 10, size); err == nil && kind == Int {
				return intOf(int32(n))
			} else if err == nil {
				return longOf(n)
			}
		} else if f, err := strconv.ParseFloat(strings.TrimSpace(s), size); err == nil {
			return narrow(f, kind)
		}
		panic(failed("For input string: " + quote(s)))
	})
}
