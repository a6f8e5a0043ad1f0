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
	one := func(f func(r *run, v *Value) *Value) builtin {
		return func(r *run, a []*Value) *Value { need(a, 1, 1); return f(r, a[0]) }
	}
	number := func(kind Kind, parse func(s string) (float64, error)) builtin {
		return one(func(r *run, v *Value) *Value {
			if v.isNumber() {
				return r.castTo(v, kind.String())
			}
			s := r.argText(v)
			if kind == Int || kind == Long {
				n, err := strconv.ParseInt(s, 10, map[Kind]int{Int: 32, Long: 64}[kind])
				if err != nil {
					panic(failed("For input string: " + strconv.Quote(s)))
				}
				if kind == Int {
					return intOf(int32(n))
				}
				return longOf(n)
			}
			f, err := parse(strings.TrimSpace(s))
			if err != nil {
				panic(failed("For input string: " + strconv.Quote(s)))
			}
			return narrow(f, kind)
		})
	}
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
		return number(Int, nil)
	case wLongparseLong, wLongvalueOf:
		return number(Long, nil)
	case wDoubleparseDouble, wDoublevalueOf:
		return number(Double, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	case wFloatparseFloat, wFloatvalueOf:
		return number(Float, func(s string) (float64, error) { return strconv.ParseFloat(s, 32) })
	case wDoubleisNaN, wFloatisNaN:
		return one(func(r *run, v *Value) *Value { return boolOf(math.IsNaN(argDouble(v))) })
	case wBooleanparseBoolean, wBooleanvalueOf:
		return one(func(r *run, v *Value) *Value { return boolOf(strings.EqualFold(r.javaText(v), "true")) })
	case wIntegertoHexString:
		return one(func(r *run, v *Value) *Value { return textOf(strconv.FormatUint(uint64(uint32(argInt(v))), 16)) })
	case wIntegertoBinaryString:
		return one(func(r *run, v *Value) *Value { return textOf(strconv.FormatUint(uint64(uint32(argInt(v))), 2)) })
	case wIntegertoString, wLongtoString, wDoubletoString, wFloattoString:
		return one(func(r *run, v *Value) *Value { return textOf(r.argText(v)) })
	case wCharacterisDigit:
		return one(func(r *run, v *Value) *Value {
			s := r.argText(v)
			return boolOf(len(s) == 1 && s[0] >= '0' && s[0] <= '9')
		})
	case wCharacterisLetter:
		return one(func(r *run, v *Value) *Value {
			s := r.argText(v)
			return boolOf(s != "" && nameStart([]rune(s)[0]) && s != "_" && s != "$")
		})
	}
	return nil
}
