"use strict";

// The API stands beside the explorer, on the host that served it.
const API = new URL("../graphql", window.location.href.replace(/\/?(\?.*)?$/, "/"));
const SOCKET = new URL(API);
SOCKET.protocol = API.protocol === "https:" ? "wss:" : "ws:";

const WELCOME = `# Dueflow's API.
#
# 1. Open "Headers" below and put your key in place of PASTE-YOUR-KEY
#    (\`make run\` prints one key per role). The docs then load by themselves.
# 2. Run with the play button or Ctrl-Enter. Choose between the operations there.
# 3. The book shows every type and field; the folder icon builds queries by clicking.

query WhoAmI {
  viewer {
    name
    role
  }
}

query Courses {
  courses(first: 5) {
    nodes {
      id
      name
    }
  }
}

# Stays open: whatever is booked, paid or suspended while it runs appears on the right.
subscription Live {
  events(topics: [MEMBERSHIP, BOOKING, PAYMENT, INVOICE]) {
    kind
    occurredAt
    cursor
  }
}
`;
const HEADERS = JSON.stringify({ Authorization: "Bearer PASTE-YOUR-KEY" }, null, 2);

const keyIn = (headers) => {
  try {
    return String(JSON.parse(headers).Authorization || "");
  } catch {
    return "";
  }
};

function Explorer() {
  const [headers, setHeaders] = React.useState(HEADERS);
  const [key, setKey] = React.useState(keyIn(HEADERS));
  const waiting = React.useRef(0);
  const plugins = React.useMemo(() => [GraphiQLPluginExplorer.explorerPlugin()], []);
  // A new key makes a new fetcher, and with a new fetcher GraphiQL asks for the schema again.
  const fetcher = React.useMemo(
    () => GraphiQL.createFetcher({ url: API.href, subscriptionUrl: SOCKET.href }),
    [key],
  );

  function onEditHeaders(edited) {
    setHeaders(edited);
    window.clearTimeout(waiting.current);
    waiting.current = window.setTimeout(() => setKey(keyIn(edited)), 500);
  }

  return React.createElement(GraphiQL, {
    fetcher,
    plugins,
    headers,
    onEditHeaders,
    defaultQuery: WELCOME,
    defaultEditorToolsVisibility: "headers",
    isHeadersEditorEnabled: true,
    inputValueDeprecation: true,
  });
}

ReactDOM.createRoot(document.getElementById("explorer")).render(React.createElement(Explorer));
