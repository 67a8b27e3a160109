package fault

// ArgumentInvalid is the name of every command line that can't be meant and has
// no name of its own.
const ArgumentInvalid = "ArgumentInvalid"

// Usage reports whether err is a wrong command line, for which commands exit with
// 2 instead of 1 (firma run: 125 for both). docs/cli.md lists every name with its
// status.
func Usage(err error) bool {
	switch NameOf(err) {
	case ArgumentInvalid, "MissingCommand", "SidecarLocalNoAutostart", "AuthorityLocalNoAutostart":
		return true
	}
	return false
}
