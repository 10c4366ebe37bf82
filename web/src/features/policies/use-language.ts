// The variables and methods that policy expressions may use, as the gateway lists them.
import { useQuery } from "@tanstack/react-query";
import type { Schemas } from "@/api/client";
import { policyLanguage } from "@/api/queries";

const EMPTY: Schemas["PolicyLanguage"] = { variables: [], methods: [] };

/** Empty until the gateway has answered: until then nothing is completed, and no variable is highlighted. */
export function useLanguage(): Schemas["PolicyLanguage"] {
  return useQuery(policyLanguage()).data ?? EMPTY;
}
