import type { Route } from '../route.ts'
import * as schemas from '../schemas/registry.ts'
import { page, recorded } from '../schemas/values.ts'

/** Agents, and the policies that decide about them. */
export const REGISTRY_ROUTES: readonly Route[] = [
  { method: 'GET', url: '/v1/agents', needs: 'agents.list', tag: 'registry', query: page, answer: schemas.agents, summary: 'Lists registered agents' },
  { method: 'POST', url: '/v1/agents', needs: 'agents.add', tag: 'registry', body: schemas.agentRequest, answer: recorded, summary: 'Registers an agent with its first key' },
  { method: 'DELETE', url: '/v1/agents/:agent', needs: 'agents.remove', tag: 'registry', path: schemas.agentPath, answer: recorded, summary: 'Removes an agent with all its keys' },
  {
    method: 'POST', url: '/v1/agents/:agent/keys', needs: 'agents.add_key', tag: 'registry', path: schemas.agentPath, body: schemas.agentKeyRequest, answer: recorded,
    summary: 'Gives an agent a key, or moves the end of one forward', params: ({ path, body }) => ({ ...body, ...path }),
  },
  { method: 'DELETE', url: '/v1/agents/:agent/keys/:key', needs: 'agents.remove_key', tag: 'registry', path: schemas.agentKeyPath, answer: recorded, summary: 'Takes a key from an agent' },
  { method: 'POST', url: '/v1/decide', needs: 'decide', tag: 'policies', body: schemas.decideRequest, answer: schemas.decideReply, summary: 'Says what would be decided; issues and logs nothing' },
  { method: 'GET', url: '/v1/policies', needs: 'policies.status', tag: 'policies', answer: schemas.policyStatus, summary: 'Says which policy set is active, staged and in shadow mode' },
  { method: 'POST', url: '/v1/policies', needs: 'policies.activate', tag: 'policies', body: schemas.activateRequest, answer: schemas.activateReply, summary: 'Validates a policy set, runs its tests, and activates it' },
  { method: 'POST', url: '/v1/policies/rollback', needs: 'policies.rollback', tag: 'policies', body: schemas.rollbackRequest, answer: schemas.activateReply, summary: 'Makes an earlier set the active one, as a new epoch' },
  { method: 'GET', url: '/v1/policies/epochs', needs: 'policies.epochs', tag: 'policies', query: page, answer: schemas.policyEpochs, summary: 'Lists the policy set of each epoch' },
  { method: 'GET', url: '/v1/profiles', needs: 'profiles.facts', tag: 'policies', answer: schemas.profileFacts, summary: 'Says under which profiles the plane runs, and what profiles look at' },
  { method: 'GET', url: '/v1/policies/:digest', needs: 'policies.text', tag: 'policies', path: schemas.policyPath, answer: schemas.policyTexts, summary: 'Gives the texts of a policy set' },
]
