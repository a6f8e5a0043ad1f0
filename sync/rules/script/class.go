package script

import (
	"math"
	"strconv"
	"strings"
)

// tbelNew is what makes a new object of a class; nil if there is none.
func tbelNew(class string) builtin {
	switch class {
	case "Date":
		return newDate
	case "String", "java.lang.String":
		return func(r *run, a []Value) Value {
			if len(a) == 0 {
				return textOf("")
			}
			return r.text(r.javaText(a[0]))
		}
	case "java.util.ArrayList":
		return func(r *run, _ []Value) Value { return r.list(nil) }
	}
	return nil
}

// The conversions of arguments, as the engine makes them: numbers to the wanted kind, numeric texts
// to numbers. null and everything else fails.

// tbelClass is Class.name(…) of TBEL; nil if there is none.
func tbelClass(class, name string) builtin {
	switch class {
	case "Math":
		return mathFunction(name)
	case "JSON":
		switch name {
		case "stringify":
			return func(r *run, a []Value) Value {
				need(a, 1, 1)
				w := writer{lang: TBEL, most: maxResult}
				return r.text(string(w.value(nil, a[0], 0)))
			}
		case "parse":
			return func(r *run, a []Value) Value {
				need(a, 1, 1)
				return r.parseJSON(r.argText(a[0]))
			}
		}
	case "Date":
		return dateClass(name)
	}
	return boxClass(class, name)
}

// parseJSON builds the value of a JSON text.
func (r *run) parseJSON(s string) Value {
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
func boxClass(class, name string) builtin {
	one := func(f func(r *run, v Value) Value) builtin {
		return func(r *run, a []Value) Value { need(a, 1, 1); return f(r, a[0]) }
	}
	number := func(kind Kind, parse func(s string) (float64, error)) builtin {
		return one(func(r *run, v Value) Value {
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
	switch class + "." + name {
	case "String.valueOf":
		return func(r *run, a []Value) Value { need(a, 1, 1); return r.text(r.javaText(a[0])) }
	case "String.format":
		return func(r *run, a []Value) Value {
			need(a, 1, 64)
			if len(a) == 2 && a[1].k == Array {
				return r.text(formatJava(r, r.argText(a[0]), a[1].o.items))
			}
			return r.text(formatJava(r, r.argText(a[0]), a[1:]))
		}
	case "String.join":
		return func(r *run, a []Value) Value {
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
	case "Integer.parseInt", "Integer.valueOf":
		return number(Int, nil)
	case "Long.parseLong", "Long.valueOf":
		return number(Long, nil)
	case "Double.parseDouble", "Double.valueOf":
		return number(Double, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	case "Float.parseFloat", "Float.valueOf":
		return number(Float, func(s string) (float64, error) { return strconv.ParseFloat(s, 32) })
	case "Double.isNaN", "Float.isNaN":
		return one(func(r *run, v Value) Value { return boolOf(math.IsNaN(argDouble(v))) })
	case "Boolean.parseBoolean", "Boolean.valueOf":
		return one(func(r *run, v Value) Value { return boolOf(strings.EqualFold(r.javaText(v), "true")) })
	case "Integer.toHexString":
		return one(func(r *run, v Value) Value { return textOf(strconv.FormatUint(uint64(uint32(argInt(v))), 16)) })
	case "Integer.toBinaryString":
		return one(func(r *run, v Value) Value { return textOf(strconv.FormatUint(uint64(uint32(argInt(v))), 2)) })
	case "Integer.toString", "Long.toString", "Double.toString", "Float.toString":
		return one(func(r *run, v Value) Value { return textOf(r.argText(v)) })
	case "Character.isDigit":
		return one(func(r *run, v Value) Value {
			s := r.argText(v)
			return boolOf(len(s) == 1 && s[0] >= '0' && s[0] <= '9')
		})
	case "Character.isLetter":
		return one(func(r *run, v Value) Value {
			s := r.argText(v)
			return boolOf(s != "" && nameStart([]rune(s)[0]) && s != "_" && s != "$")
		})
	}
	return nil
}
