from tests.multimodal.engine.worker_sources import compiled_sources

__all__ = ["compiled_sources"]
