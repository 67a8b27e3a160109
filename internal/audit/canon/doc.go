// Package canon writes JSON in the canonical form of RFC 8785 (JCS), limited to
// what an audit event holds: objects, arrays, strings, booleans, null and
// integers of at most 53 bits. Fractions and exponents are refused, so that
// every JSON tool that sorts keys can reproduce the bytes.
package canon

// MaxInt is the largest magnitude of an integer that IEEE 754 doubles, and so
// RFC 8785, represent exactly together with all smaller ones: 2^53 - 1.
const MaxInt = 1<<53 - 1
