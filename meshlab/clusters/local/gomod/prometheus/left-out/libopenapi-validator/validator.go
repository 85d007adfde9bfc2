// Package validator stands in for the library by which Prometheus' tests check its answers; see the stand-in of libopenapi.
package validator

import (
	"net/http"

	"github.com/pb33f/libopenapi"
	"github.com/pb33f/libopenapi-validator/errors"
)

// Validator checks requests and answers. None is ever made.
type Validator interface {
	ValidateHttpRequest(*http.Request) (bool, []*errors.ValidationError)
	ValidateHttpResponse(*http.Request, *http.Response) (bool, []*errors.ValidationError)
}

// NewValidator is never reached, as no document can be made.
func NewValidator(*libopenapi.Document) (Validator, []error) {
	return nil, []error{&errors.ValidationError{Message: "this Prometheus was compiled for the mesh lab, without OpenAPI"}}
}
