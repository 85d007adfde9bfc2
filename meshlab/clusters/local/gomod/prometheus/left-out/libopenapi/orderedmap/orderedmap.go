// Package orderedmap has the maps of an OpenAPI document, in the order in which they were filled.
package orderedmap

// Map keeps its keys in order. Prometheus sets each key once.
type Map[K comparable, V any] struct {
	keys   []K
	values []V
}

// Pair is one of a map.
type Pair[K comparable, V any] struct {
	of *Map[K, V]
	at int
}

// New makes an empty map.
func New[K comparable, V any]() *Map[K, V] { return &Map[K, V]{} }

// Set adds a key.
func (m *Map[K, V]) Set(key K, value V) {
	m.keys, m.values = append(m.keys, key), append(m.values, value)
}

// First is nil in an empty map.
func (m *Map[K, V]) First() *Pair[K, V] { return m.pair(0) }

// Next is nil after the last one.
func (p *Pair[K, V]) Next() *Pair[K, V] { return p.of.pair(p.at + 1) }

// Key of the pair.
func (p *Pair[K, V]) Key() K { return p.of.keys[p.at] }

// Value of the pair.
func (p *Pair[K, V]) Value() V { return p.of.values[p.at] }

func (m *Map[K, V]) pair(at int) *Pair[K, V] {
	if at >= len(m.keys) {
		return nil
	}
	return &Pair[K, V]{m, at}
}
