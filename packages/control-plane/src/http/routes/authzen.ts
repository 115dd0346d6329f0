import type { FastifyRequest } from 'fastify'
import type { Plane } from '../../plane.ts'
import { evaluate, evaluateAll } from '../authzen/evaluate.ts'
import { searchActions, searchResources, searchSubjects } from '../authzen/search.ts'
import type { Route } from '../route.ts'
import * as schemas from '../schemas/authzen.ts'

const ENDPOINTS = {
  access_evaluation_endpoint: '/access/v1/evaluation',
  access_evaluations_endpoint: '/access/v1/evaluations',
  search_subject_endpoint: '/access/v1/search/subject',
  search_resource_endpoint: '/access/v1/search/resource',
  search_action_endpoint: '/access/v1/search/action',
} as const

/** AuthZEN 1.0: advice in a standard form. Nothing is issued, and no gate runs anything on it. @see https://openid.net/specs/authorization-api-1_0.html */
export const AUTHZEN_ROUTES: readonly Route[] = [
  asks(ENDPOINTS.access_evaluation_endpoint, 'Whether a subject may do something with a resource', schemas.evaluationRequest, schemas.evaluationReply, evaluate),
  asks(ENDPOINTS.access_evaluations_endpoint, 'Several evaluations at once', schemas.evaluationsRequest, schemas.evaluationsReply, evaluateAll),
  asks(ENDPOINTS.search_subject_endpoint, 'Which registered agents may', schemas.subjectSearch, schemas.subjects, searchSubjects),
  asks(ENDPOINTS.search_resource_endpoint, 'Which recorded tools a subject may call', schemas.resourceSearch, schemas.resources, searchResources),
  asks(ENDPOINTS.search_action_endpoint, 'Which actions a subject may do with a resource', schemas.actionSearch, schemas.actions, searchActions),
  {
    method: 'GET', url: '/.well-known/authzen-configuration', tag: 'authzen', answer: schemas.metadata, summary: 'Where AuthZEN is served', run: ({ request }) => {
      const at = base(request)
      return { policy_decision_point: at, ...Object.fromEntries(Object.entries(ENDPOINTS).map(([name, path]) => [name, `${at}${path}`])) }
    },
  },
]

function asks<T>(url: string, summary: string, body: Route['body'] & object, answer: Route['answer'], evaluated: (request: T, plane: Plane) => Promise<unknown>): Route {
  return { method: 'POST', url, needs: 'decide', tag: 'authzen', body, answer, summary, isPrivate: true, run: ({ admitted, request }) => evaluated(request.body as T, admitted().plane) }
}

/** The very name that was asked, which is one of ours: another one is refused before anything else (ATK-100). */
const base = ({ protocol, headers }: FastifyRequest): string => `${protocol}://${headers.host ?? ''}`
