// Each of these is a mistake the types must catch.
import type { AnyoneQueryVariables, PeopleQuery, PeopleQueryVariables } from './made/graphql'

export const missing: PeopleQueryVariables = {}
export const both: AnyoneQueryVariables = { by: { id: 'x', email: 'a@b.test' }, id: 'x' }
export const unknown = (people: PeopleQuery) => people.users.nodes.map((user) => user.nothing)
export const word: PeopleQueryVariables = { first: 1, filter: { state: ['NONSENSE'] } }
