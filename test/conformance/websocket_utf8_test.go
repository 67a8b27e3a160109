package conformance

import "fmt"

// The byte sequences of class 6, after Markus Kuhn's UTF-8 decoder stress test. They
// are what a text message carries; RFC 6455, section 8.1, has the endpoint judge it.
var (
	validText = []string{
		"", hello, "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", // 6.1, 6.2, 6.5
		"\x00", "\xc2\x80", "\xe0\xa0\x80", "\xf0\x90\x80\x80", // the first of each length
		"\x7f", "\xdf\xbf", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf", // the last
		"\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbd", // around the surrogates; the replacement
		"\xef\xbf\xbe", "\xf0\x9f\xbf\xbe", "\xf0\x9f\xbf\xbf", "\xf0\xaf\xbf\xbe", "\xf4\x8f\xbf\xbe", // noncharacters are valid
	}
	invalidText = []string{
		"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",     // 6.3.1
		"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited", // 6.4: too high
		"\xce", "\xce\xba\xe1", "\xce\xba\xe1\xbd", // ends within a character
		"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", // five bytes, six
		"\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf",
		"\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80\xbf\x80\xbf", // continuation bytes alone
		"\xc0 \xc1 \xc2 \xdf ", "\xe0 \xe7 \xef ", "\xf0 \xf7 ", "\xf8 \xfb ", "\xfc \xfd ", // starts alone
		"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80", "\xdf", "\xef\xbf", "\xf7\xbf\xbf", // the last byte is missing
		"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80\xfc\x80\x80\x80\x80\xdf\xef\xbf\xf7\xbf\xbf",
		"\xfe", "\xff", "\xfe\xfe\xff\xff", // no such bytes
		"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf", // overlong
		"\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf",
		"\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", // overlong NUL
		"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf", // surrogates
		"\xed\xa0\x80\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf", // pairs of them
	}
)

// cuts are the ways in which each sequence comes: whole, cut in two in the middle,
// and byte by byte.
func cuts(s string) (all [][]frame) {
	all = append(all, []frame{txt(s)})
	if len(s) > 1 {
		all = append(all, fragments(text, s, (len(s)+1)/2), fragments(text, s, 1))
	}
	return all
}

// utf8Cases: all of it passes, as nobody in between is to read it. A case is all
// valid sequences, or all invalid ones, cut in one way.
func utf8Cases() (all []wsCase) {
	for kind, list := range map[string][]string{"valid": validText, "invalid": invalidText} {
		var by [3][]frame
		for _, s := range list {
			for i, f := range cuts(s) {
				by[i] = append(by[i], f...)
			}
		}
		for i, f := range by {
			all = append(all, passes(fmt.Sprintf("6.%s.%d", kind, i+1), f...))
		}
	}
	return all
}
