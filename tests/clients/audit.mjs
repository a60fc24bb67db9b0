// The GraphQL-over-HTTP audit of graphql-http, each item, SHOULD as well as MUST.
import { serverAudits } from 'graphql-http'
import { bearer, check, report, url } from './checks.mjs'

const fetchFn = (to, options = {}) => fetch(to, { ...options, headers: { ...options.headers, ...bearer } })

for (const audit of serverAudits({ url, fetchFn })) {
  check(`${audit.id} ${audit.name}`, async () => {
    const result = await audit.fn()
    if (result.status !== 'ok') throw new Error(`${result.status}: ${result.reason}`)
  })
}
await report()
