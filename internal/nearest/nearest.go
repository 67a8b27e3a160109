// Package nearest guesses which name somebody meant.
package nearest

// Name returns the name that s is most likely a slip of, or "".
func Name(s string, names []string) string {
	best, limit := "", max(2, len(s)/3)+1
	if len(s) > 64 {
		return ""
	}
	for _, n := range names {
		if d := distance(s, n); d < limit {
			best, limit = n, d
		}
	}
	return best
}

// distance is Levenshtein's: single-byte insertions, removals and changes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost = 1 + min(diagonal, row[j], row[j-1])
			}
			diagonal, row[j] = row[j], cost
		}
	}
	return row[len(b)]
}
