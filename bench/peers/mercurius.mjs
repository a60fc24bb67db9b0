// A peer: Mercurius on Fastify with graphql-jit, its loaders over pg with prepared statements, on the same tables.
// It answers the shapes of bench/shapes.py with bare uuids for ids and cursors, and has none of what ours checks.
import Fastify from "fastify";
import mercurius from "mercurius";
import pg from "pg";

pg.types.setTypeParser(1082, (day) => day); // a date stays text
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
const rows = async (name, text, values) => (await pool.query({ name, text, values })).rows;

const schema = `
  type Money { minorUnits: String! currency: String! }
  type Named { id: ID! name: String! }
  type Item { description: String! amount: Money! }
  type User {
    id: ID! firstName: String! lastName: String! email: String!
    memberships(first: Int!): Memberships! invoices(last: Int!): Invoices!
  }
  type Membership { id: ID! status: String! startsOn: String! user: User! type: Named! centre: Named! }
  type Invoice { id: ID! number: String! status: String! total: Money! items: [Item!]! membership: Membership! }
  type Edge { node: Membership! }
  type PageInfo { hasNextPage: Boolean! }
  type Memberships { nodes: [Membership!]! edges: [Edge!]! pageInfo: PageInfo! }
  type Invoices { nodes: [Invoice!]! }
  input UserBy { id: ID! }
  type Query {
    user(by: UserBy!): User
    memberships(first: Int!, after: String): Memberships!
    invoices(first: Int!, after: String): Invoices!
  }
`;

const user = (row) => ({ id: row.id, firstName: row.first_name, lastName: row.last_name, email: row.email });
const membership = (row) => ({ ...row, startsOn: row.starts_on });
const invoice = (row) => ({ ...row, total: { minorUnits: row.total, currency: row.currency } });
const page = (nodes, first) => ({
  nodes: nodes.slice(0, first),
  edges: nodes.slice(0, first).map((node) => ({ node })),
  pageInfo: { hasNextPage: nodes.length > first },
});
const NONE = "00000000-0000-0000-0000-000000000000";

const resolvers = {
  Query: {
    user: async (_, { by }) =>
      (await rows("user", "SELECT * FROM user_account WHERE id = $1", [by.id])).map(user)[0] ?? null,
    memberships: async (_, { first, after }) =>
      page(
        (
          await rows("memberships", "SELECT * FROM membership WHERE id > $1 ORDER BY id LIMIT $2", [
            after ?? NONE,
            first + 1,
          ])
        ).map(membership),
        first,
      ),
    invoices: async (_, { first, after }) =>
      page(
        (
          await rows("invoices", "SELECT * FROM invoice WHERE id > $1 ORDER BY id LIMIT $2", [after ?? NONE, first])
        ).map(invoice),
        first,
      ),
  },
};

const one = (table, made, key) => async (queries) => {
  const ids = [...new Set(queries.map(({ obj }) => obj[key]))];
  const found = await rows(`one ${table}`, `SELECT * FROM ${table} WHERE id = ANY($1::uuid[])`, [ids]);
  const by = new Map(found.map((row) => [row.id, made(row)]));
  return queries.map(({ obj }) => by.get(obj[key]));
};
const many = (table, key, order, made) => async (queries) => {
  const ids = queries.map(({ obj }) => obj.id);
  const text = `SELECT * FROM ${table} WHERE ${key} = ANY($1::uuid[]) ORDER BY ${order}`;
  const by = new Map(ids.map((id) => [id, []]));
  for (const row of await rows(`many ${table}`, text, [ids])) by.get(row[key]).push(row);
  return queries.map(({ obj, params }) => made(by.get(obj.id), params, obj));
};
const loaders = {
  User: {
    memberships: many("membership", "user_id", "id", (found, { first }) => page(found.map(membership), first)),
    invoices: many("invoice", "user_id", "id", (found, { last }) => ({ nodes: found.slice(-last).map(invoice) })),
  },
  Membership: {
    user: one("user_account", user, "user_id"),
    type: one("membership_type", (row) => row, "membership_type_id"),
    centre: one("centre", (row) => row, "centre_id"),
  },
  Invoice: {
    items: many("invoice_item", "invoice_id", "position, id", (found, _, { currency }) =>
      found.map((row) => ({ description: row.description, amount: { minorUnits: row.amount, currency } })),
    ),
    membership: one("membership", membership, "membership_id"),
  },
};

const app = Fastify();
app.register(mercurius, { schema, resolvers, loaders, jit: 1, path: "/graphql" });
await app.listen({ host: "127.0.0.1", port: Number(process.env.PORT) });
