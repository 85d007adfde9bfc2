// Package errors holds what a check found.
package errors

// ValidationError is one finding.
type ValidationError struct {
	Message string
}

func (found *ValidationError) Error() string { return found.Message }
