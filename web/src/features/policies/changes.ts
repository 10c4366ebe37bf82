// Changes to policies: each is in force when it is answered, and each that can be is undone from its message.
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { post, put, remove, type Schemas } from "@/api/client";
import type { Draft } from "@/api/queries";
import { toast } from "@/components/toast";

type Policy = Schemas["Policy"];

export const NEW: Draft = {
  name: "",
  description: "",
  expression: "",
  action: "block",
  target_model: null,
  message: null,
  priority: 100,
  enabled: true,
  mode: "shadow",
};

/** What of a policy is the author's. */
export function draftOf(policy: Policy): Draft {
  const {
    name,
    description,
    expression,
    action,
    target_model = null,
    message = null,
    priority,
    enabled,
    mode,
  } = policy;
  return { name, description, expression, action, target_model, message, priority, enabled, mode };
}

/** As it is sent: what belongs to another action is left out. */
export function sendable(draft: Draft): Draft {
  const text = (value: string | null) => (value?.trim() ? value.trim() : null);
  return {
    ...draft,
    name: draft.name.trim(),
    target_model: draft.action === "downgrade" ? text(draft.target_model) : null,
    message: draft.action === "block" ? text(draft.message) : null,
  };
}

export function usePolicyChanges() {
  const client = useQueryClient();
  const settled = () =>
    Promise.all([
      client.invalidateQueries({ queryKey: ["policies"] }),
      client.invalidateQueries({ queryKey: ["audit"] }),
    ]);
  const failed = (error: Error) => toast(error.message, { tone: "bad" });

  const save = useMutation({
    mutationFn: ({ id, draft }: { id: string | null; draft: Draft }) =>
      id === null
        ? post("/api/policies", { body: sendable(draft) })
        : put("/api/policies/{id}", { at: { id }, body: sendable(draft) }),
    onSettled: settled,
  });
  const toggle = useMutation({
    mutationFn: (policy: Policy) =>
      put("/api/policies/{id}", { at: { id: policy.id }, body: { ...draftOf(policy), enabled: !policy.enabled } }),
    onSuccess: (_, policy) => toast(`“${policy.name}” is ${policy.enabled ? "off" : "on"} from the next request on.`),
    onError: failed,
    onSettled: settled,
  });
  const erase = useMutation({
    mutationFn: (policy: Policy) => remove("/api/policies/{id}", { at: { id: policy.id } }),
    onSuccess: (_, policy) =>
      toast(`“${policy.name}” is deleted and no longer acts.`, {
        action: {
          label: "Undo",
          // It comes back as it was, under a new id.
          run: () =>
            save.mutate(
              { id: null, draft: draftOf(policy) },
              { onError: failed, onSuccess: () => toast(`“${policy.name}” is back.`) },
            ),
        },
      }),
    onError: failed,
    onSettled: settled,
  });
  return { save, toggle, erase };
}
