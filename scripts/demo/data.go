package main

import (
	"compress/gzip"
	"embed"
	"encoding/csv"
	"fmt"
	"strconv"
	"time"
)

//go:embed data/*.csv.gz
var files embed.FS

// Reading is one row of a file: a time and, beside the station's keys, the values as JSON.
type Reading struct {
	TS     int64 // milliseconds since the Unix epoch
	Values []string
}

// Station is a device with its readings, sorted by time.
type Station struct {
	Name     string
	Keys     []string
	Readings []Reading
}

// source describes how to read one file: which column is the time, and how the time is written.
type source struct {
	name, file, layout string
	timeColumn         string
	rename             map[string]string // of columns to telemetry keys
}

var sources = []source{
	{"Seattle, hourly", "seattle-temps", "2006/01/02 15:04", "date", map[string]string{"temp": "temperature"}},
	{"San Francisco, hourly", "sf-temps", "2006/01/02 15:04:05", "date", map[string]string{"temp": "temperature"}},
	{"Seattle, daily", "seattle-weather", "2006/01/02", "date", nil},
}

// loadStations reads the files that the program carries.
func loadStations() ([]Station, error) {
	var all []Station
	for _, src := range sources {
		s, err := src.load()
		if err != nil {
			return nil, fmt.Errorf("data/%s.csv.gz: %w", src.file, err)
		}
		all = append(all, s)
	}
	return all, nil
}

func (src source) load() (Station, error) {
	f, err := files.Open("data/" + src.file + ".csv.gz")
	if err != nil {
		return Station{}, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return Station{}, err
	}
	rows, err := csv.NewReader(z).ReadAll()
	if err != nil {
		return Station{}, err
	}
	if len(rows) < 2 {
		return Station{}, fmt.Errorf("no rows")
	}
	s := Station{Name: src.name}
	timeColumn := -1
	for i, name := range rows[0] {
		if name == src.timeColumn {
			timeColumn = i
			continue
		}
		if to, ok := src.rename[name]; ok {
			name = to
		}
		s.Keys = append(s.Keys, name)
	}
	if timeColumn < 0 {
		return Station{}, fmt.Errorf("no column %q", src.timeColumn)
	}
	for n, row := range rows[1:] {
		t, err := time.ParseInLocation(src.layout, row[timeColumn], time.UTC)
		if err != nil {
			return Station{}, fmt.Errorf("row %d: %w", n+2, err)
		}
		r := Reading{TS: t.UnixMilli()}
		if k := len(s.Readings); k > 0 && s.Readings[k-1].TS >= r.TS {
			return Station{}, fmt.Errorf("row %d: %s is not later than the row before", n+2, row[timeColumn])
		}
		for i, v := range row {
			if i == timeColumn {
				continue
			}
			// A number is posted exactly as the file writes it.
			if _, err := strconv.ParseFloat(v, 64); err != nil {
				v = strconv.Quote(v)
			}
			r.Values = append(r.Values, v)
		}
		s.Readings = append(s.Readings, r)
	}
	return s, nil
}

// appendJSON writes a reading as a timestamped object (API.md 1.1).
func (s *Station) appendJSON(b []byte, r Reading) []byte {
	b = append(b, `{"ts":`...)
	b = strconv.AppendInt(b, r.TS, 10)
	b = append(b, `,"values":{`...)
	for i, k := range s.Keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendQuote(b, k)
		b = append(b, ':')
		b = append(b, r.Values[i]...)
	}
	return append(b, "}}"...)
}
