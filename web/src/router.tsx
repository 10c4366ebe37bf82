// The routes. Every page but the dashboard is in a chunk of its own.
import type { QueryClient } from "@tanstack/react-query";
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
  retainSearchParams,
} from "@tanstack/react-router";
import { basePath } from "./api/client";
import { DashboardPage } from "./features/dashboard/dashboard-page";
import { NotFound, PageFailure } from "./features/shell/page-failure";
import { Shell } from "./features/shell/shell";
import {
  parseSearch,
  readDashboardSearch,
  readNext,
  readTraceSearch,
  readTracesSearch,
  stringifySearch,
} from "./lib/search";
import { type RangeSearch, readRange } from "./lib/time-range";

const root = createRootRouteWithContext<{ client: QueryClient }>()({
  component: Outlet,
  notFoundComponent: NotFound,
  errorComponent: PageFailure,
});

const app = createRoute({
  getParentRoute: () => root,
  id: "app",
  component: Shell,
  validateSearch: (search: Record<string, unknown>): RangeSearch => readRange(search),
  // Links keep the period.
  search: { middlewares: [retainSearchParams(["range", "from", "to"])] },
});

const dashboard = createRoute({
  getParentRoute: () => app,
  path: "/",
  component: DashboardPage,
  validateSearch: readDashboardSearch,
});
const traces = createRoute({
  getParentRoute: () => app,
  path: "/traces",
  component: lazyRouteComponent(() => import("./features/traces/traces-page"), "TracesPage"),
  validateSearch: readTracesSearch,
});
const trace = createRoute({
  getParentRoute: () => app,
  path: "/traces/$id",
  component: lazyRouteComponent(() => import("./features/trace/trace-page"), "TracePage"),
  validateSearch: readTraceSearch,
});
const policies = createRoute({
  getParentRoute: () => app,
  path: "/policies",
  component: lazyRouteComponent(() => import("./features/policies/policies-page"), "PoliciesPage"),
});
const policy = createRoute({
  getParentRoute: () => app,
  path: "/policies/$id",
  component: lazyRouteComponent(() => import("./features/policies/policy-page"), "PolicyPage"),
});
const changes = createRoute({
  getParentRoute: () => app,
  path: "/changes",
  component: lazyRouteComponent(() => import("./features/audit/audit-page"), "AuditPage"),
  validateSearch: (search: Record<string, unknown>): { page?: number } => {
    const { page } = readTracesSearch(search);
    return page ? { page } : {};
  },
});
const settings = createRoute({
  getParentRoute: () => app,
  path: "/settings",
  component: lazyRouteComponent(() => import("./features/settings/settings-page"), "SettingsPage"),
});
const signIn = createRoute({
  getParentRoute: () => root,
  path: "/sign-in",
  component: lazyRouteComponent(() => import("./features/sign-in/sign-in-page"), "SignInPage"),
  validateSearch: readNext,
});

const tree = root.addChildren([
  app.addChildren([dashboard, traces, trace, policies, policy, changes, settings]),
  signIn,
]);

export function makeRouter(client: QueryClient) {
  return createRouter({
    routeTree: tree,
    basepath: basePath(),
    context: { client },
    parseSearch,
    stringifySearch,
    defaultPreload: "intent",
    defaultPreloadDelay: 60,
    scrollRestoration: true,
    defaultErrorComponent: PageFailure,
    defaultNotFoundComponent: NotFound,
  });
}

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof makeRouter>;
  }
}
