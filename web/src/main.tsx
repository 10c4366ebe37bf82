import { QueryCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { ApiError, basePath } from "./api/client";
import { watchSystemTheme } from "./lib/theme";
import { makeRouter } from "./router";
import "./theme.css";

/** Retries of a query after a transient failure. Arbitrary. */
const RETRIES_MAX = 2;

const client = new QueryClient({
  queryCache: new QueryCache({ onError: (error) => error instanceof ApiError && error.status === 401 && signIn() }),
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      retry: (failures, error) =>
        failures < RETRIES_MAX && error instanceof ApiError && error.isTransient && error.status !== 503,
    },
  },
});
const router = makeRouter(client);

function signIn() {
  const { pathname, href } = router.state.location;
  if (pathname !== "/sign-in") router.navigate({ to: "/sign-in", search: { next: href }, replace: true });
}

// If the console is opened outside its configured base path, such as on the gateway's own port, move to the base path.
if (!location.pathname.startsWith(basePath()) && `${location.pathname}/` !== basePath()) {
  location.replace(basePath() + location.pathname.slice(1) + location.search);
}

watchSystemTheme();
const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={client}>
      <RouterProvider router={router} />
    </QueryClientProvider>
  </StrictMode>,
);
