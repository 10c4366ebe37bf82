// Changes to policies. Each is in force once the gateway has answered. Deleting offers an undo.
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { post, put, remove, type Schemas } from "@/api/client";
import type { Draft } from "@/api/queries";
import { toast } from "@/components/toast";

type Policy = Schemas["Policy"];

/** The form of a new policy. It starts in shadow mode. */
export const NEW_DRAFT: Draft = {
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

/** The fields of a policy that its author sets. */
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

/** The draft as it is sent: trimmed, and without the fields of other actions. */
export function requestBody(draft: Draft): Draft {
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
  const refetch = () =>
    Promise.all([
      client.invalidateQueries({ queryKey: ["policies"] }),
      client.invalidateQueries({ queryKey: ["audit"] }),
    ]);
  const showError = (error: Error) => toast(error.message, { tone: "bad" });

  const save = useMutation({
    mutationFn: ({ id, draft }: { id: string | null; draft: Draft }) =>
      id === null
        ? post("/api/policies", { body: requestBody(draft) })
        : put("/api/policies/{id}", { params: { id }, body: requestBody(draft) }),
    onSettled: refetch,
  });
  const toggle = useMutation({
    mutationFn: (policy: Policy) =>
      put("/api/policies/{id}", { params: { id: policy.id }, body: { ...draftOf(policy), enabled: !policy.enabled } }),
    onSuccess: (_, policy) => toast(`“${policy.name}” is ${policy.enabled ? "off" : "on"} from the next request.`),
    onError: showError,
    onSettled: refetch,
  });
  const deletion = useMutation({
    mutationFn: (policy: Policy) => remove("/api/policies/{id}", { params: { id: policy.id } }),
    onSuccess: (_, policy) =>
      toast(`“${policy.name}” is deleted.`, {
        action: {
          label: "Undo",
          // It is created again, with a new ID.
          run: () =>
            save.mutate(
              { id: null, draft: draftOf(policy) },
              { onError: showError, onSuccess: () => toast(`“${policy.name}” is restored.`) },
            ),
        },
      }),
    onError: showError,
    onSettled: refetch,
  });
  return { save, toggle, deletion };
}
