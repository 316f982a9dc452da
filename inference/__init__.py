"""From a pair of pictures to findings and a verdict, with ONNX Runtime. Never imports torch."""
