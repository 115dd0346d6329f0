export { type ContractCheck, storeContract, type StorePlace } from './store-contract.ts'
