package policy

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/cedar-policy/cedar-go/types"

	"firma/internal/fault"
)

// The shipped postures, by name. Embedding costs nothing until one is compiled.
var (
	//go:embed postures/strict.cedar
	postureStrict string
	//go:embed postures/dev.cedar
	postureDev string
	//go:embed postures/dev-with-delete-watch.cedar
	postureDeleteWatch string
	//go:embed postures/issuance.cedar
	issuance string
)

// PostureNames returns the names Posture knows, from the narrowest to the widest.
func PostureNames() []string { return []string{"strict", "dev", "dev-with-delete-watch"} }

// Posture returns the Cedar text of a shipped posture. The caller owns the
// bytes. An unknown name is a *fault.Error PostureUnknown.
func Posture(name string) ([]byte, error) {
	switch name {
	case "strict":
		return []byte(postureStrict), nil
	case "dev":
		return []byte(postureDev), nil
	case "dev-with-delete-watch":
		return []byte(postureDeleteWatch), nil
	}
	return nil, fault.New("PostureUnknown", fmt.Sprintf("there is no posture %q", name),
		"Choose one of "+strings.Join(PostureNames(), ", ")+".")
}

// Issuance returns the Cedar text that a new Authority starts with to decide
// which capabilities it mints: all that are asked for. The caller owns the bytes.
func Issuance() []byte { return []byte(issuance) }

// Allow returns the Cedar permit behind `--allow`: anything sent to host, as a
// host key of internal/intent ("example.com", "example.com:8443"). Whatever host
// holds, the text is one policy that matches that host only, or one that Compile
// refuses.
func Allow(host string) string {
	literal := types.String(host).MarshalCedar()
	id := types.String("allow:" + host).MarshalCedar()
	return fmt.Sprintf(`@id(%s)
permit (
  principal,
  action == Firma::Action::"communication.external.send",
  resource
)
when { resource has host && resource.host == %s };
`, id, literal)
}
