// graphql-request: the smallest client, by POST and by GET.
import { GraphQLClient, gql } from 'graphql-request'
import { ADMIN, PEOPLE, SIGN, VIEWER, assert, bearer, check, newcomer, report, url } from './checks.mjs'

const client = (options = {}) => new GraphQLClient(url, { headers: bearer, ...options })
const fails = (promise) => promise.then(() => assert.fail('it was answered'), (error) => error)

for (const method of ['POST', 'GET']) {
  check(`a query by ${method}`, async () => {
    assert.deepEqual(await client({ method, jsonSerializer: JSON }).request(gql`${VIEWER}`), ADMIN)
  })
  check(`variables by ${method}`, async () => {
    const data = await client({ method, jsonSerializer: JSON }).request(PEOPLE, { first: 1 })
    assert.ok(data.users.totalCount >= 2)
  })
  check(`an unknown field by ${method} is a ClientError with its code`, async () => {
    const { response } = await fails(client({ method, jsonSerializer: JSON }).request('{ nothing }'))
    assert.equal(response.errors[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED')
  })
}
check('a mutation', async () => {
  const data = await client().request(SIGN, newcomer())
  assert.equal(data.createUser.user.firstName, 'New')
})
check('rawRequest shows status and headers', async () => {
  const { status, headers, data } = await client().rawRequest(VIEWER)
  assert.deepEqual([status, data], [200, ADMIN])
  assert.match(headers.get('x-request-id'), /^[0-9a-f]{32}$/)
})
check('who is nobody is told 401', async () => {
  const { response } = await fails(client({ headers: {} }).request(VIEWER))
  assert.deepEqual([response.status, response.errors[0].extensions.code], [401, 'UNAUTHENTICATED'])
})
check('a batch is refused in words', async () => {
  const { response } = await fails(client().batchRequests([{ document: VIEWER }, { document: VIEWER }]))
  assert.deepEqual([response.status, response.errors[0].extensions.code], [400, 'BAD_REQUEST'])
})
await report()
