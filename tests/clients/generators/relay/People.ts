// Relay's own directives on our connections, Node and fragments.
import { graphql } from 'relay-runtime'

export const people = graphql`
  query PeopleQuery($count: Int!, $cursor: String) {
    ...People_list @arguments(count: $count, cursor: $cursor)
  }
`
export const list = graphql`
  fragment People_list on Query
  @argumentDefinitions(count: { type: "Int", defaultValue: 10 }, cursor: { type: "String" })
  @refetchable(queryName: "PeopleListQuery") {
    users(first: $count, after: $cursor) @connection(key: "People_users") {
      edges { node { id firstName ...People_user } }
    }
  }
`
export const user = graphql`
  fragment People_user on User @refetchable(queryName: "PeopleUserQuery") {
    email
    memberships(first: 5) { nodes { amount { amount currency } } }
  }
`
export const sign = graphql`
  mutation PeopleSignMutation($input: CreateUserInput!) {
    createUser(input: $input) { user { ...People_user } userErrors { code } }
  }
`
export const watch = graphql`
  subscription PeopleWatchSubscription($after: String) {
    bookingUpdated(after: $after) { kind cursor booking { id } }
  }
`
