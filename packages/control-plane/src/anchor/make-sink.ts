import { fileSink } from './file-sink.ts'
import { httpSink } from './http-sink.ts'
import { rfc3161Sink } from './rfc3161-sink.ts'
import type { AnchorSink, SinkConfig, SinkPorts } from './sink.ts'

/** @throws {SinkError} for a place that may not be used */
export function makeSink(config: SinkConfig, ports: SinkPorts): AnchorSink {
  switch (config.type) {
    case 'rfc3161':
      return rfc3161Sink(config.url, ports)
    case 'file':
      return fileSink(config.path, ports)
    case 'http':
      return httpSink(config.url, ports)
  }
}
