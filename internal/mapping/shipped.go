package mapping

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	"firma/internal/fault"
)

//go:embed shipped/*.toml
var shippedFiles embed.FS

// ShippedNames returns the names of the rule sets that come with firma, sorted.
func ShippedNames() []string {
	return []string{"anthropic", "copilot", "github", "gmail", "openai", "stripe", "vscode"}
}

// Shipped returns the rules of one of these sets, parsed on each call. An unknown
// name is a fault.
func Shipped(name string) ([]Rule, error) {
	text, err := ShippedText(name)
	if err != nil {
		return nil, err
	}
	rules, _, err := Parse(shippedPrefix+name, text)
	if err != nil {
		return nil, err
	}
	for i := range rules {
		rules[i].Source = shippedPrefix + name
	}
	return rules, nil
}

// ShippedText returns the rules file of one of these sets.
func ShippedText(name string) ([]byte, error) {
	if !slices.Contains(ShippedNames(), name) {
		return nil, fault.New(invalidRules, fmt.Sprintf("there is no shipped mapping %q", name),
			"Use one of "+strings.Join(ShippedNames(), ", ")+", or a file of your own.")
	}
	return shippedFiles.ReadFile("shipped/" + name + ".toml")
}
