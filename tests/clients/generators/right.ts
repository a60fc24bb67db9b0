// What a page of our users would write; it must compile.
import type { AnyoneQueryVariables, PeopleQuery, PeopleQueryVariables, SignMutation, WatchSubscription } from './made/graphql'

export const asked: PeopleQueryVariables = { first: 10, orderBy: [{ field: 'CREATED_AT', direction: 'DESC' }] }
export const whom: AnyoneQueryVariables[] = [
  { by: { id: 'x' }, id: 'x' },
  { by: { email: 'a@b.test' }, id: 'x' },
]

export function told(people: PeopleQuery): (string | undefined)[] {
  return people.users.nodes.map((user) => user.memberships?.nodes[0]?.amount?.currency)
}

export function why(signed: SignMutation): string[] {
  return signed.createUser.userErrors.map((error) => `${error.code}: ${error.message}`)
}

export function cursor(watched: WatchSubscription): string {
  return watched.events.cursor
}
