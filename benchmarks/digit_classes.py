"""Which digits does a trained DCGAN make? Counted by the nearest training images.

    python benchmarks/digit_classes.py runs/dcgan_mnist/checkpoint.safetensors --data FOLDER

Each of 2,000 samples of the averaged generator takes the label that most of its five nearest
training images have, by Euclidean distance between pixels: a ruler that was never trained, and
that labels real MNIST test images right 96 times in 100 (printed beside, from 2,000 of them).
Also printed: how far a sample is from its nearest training image, against the same for real
test images. Samples much nearer would be copies, samples much further no digits.
"""

from __future__ import annotations

import argparse

import numpy as np

from minigan import Tensor, checkpoint, cli, cpu, data, models, no_grad, optim

SAMPLES, NEIGHBOURS = 2000, 5


def averaged_generator(path):
    """The EMA of the generator in a checkpoint that examples/dcgan_mnist.py wrote."""
    options = checkpoint.peek(path)["options"]
    G = models.dcgan_generator(
        rng=cpu.generator(0), **{key: options[key] for key in ("latent", "width", "hidden")}
    )
    average = optim.EMA(G)
    checkpoint.load(path, {"average": average}, partial=True)
    return average.network, options["latent"]


def nearest(images, training: data.Dataset):
    """Labels by majority of the nearest training images, and distances to the very nearest.

    images: float32 (n, 784) in [−1, 1]. Returns int (n,) and float (n,), in units of pixels.
    """
    known = data.to_unit(training.images).reshape(len(training), -1)
    squares = (known * known).sum(axis=1)
    labels, distances = [], []
    for block in np.array_split(images, max(1, len(images) // 250)):
        squared = (block * block).sum(axis=1)[:, None] - 2 * block @ known.T + squares
        closest = np.argpartition(squared, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        votes = training.labels[closest]
        labels += [np.bincount(row, minlength=10).argmax() for row in votes]
        distances += list(np.sqrt(np.maximum(squared.min(axis=1), 0)))
    return np.array(labels), np.array(distances)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("checkpoint", help="written by examples/dcgan_mnist.py")
    p.add_argument("--data", help="as for examples/dcgan_mnist.py; must be labelled 28x28 digits")
    args = p.parse_args()
    training, notice = data.choose(args.data)
    test, _ = data.choose(args.data, split="test")
    if notice:
        print(notice)
    G, latent = averaged_generator(args.checkpoint)
    with no_grad():
        z = cpu.generator(12345).normal((SAMPLES, latent))
        samples = G(Tensor(z)).numpy().reshape(SAMPLES, -1)
    labels, distances = nearest(samples, training)
    real = data.to_unit(test.images[:SAMPLES]).reshape(SAMPLES, -1)
    real_labels, real_distances = nearest(real, training)
    shares = np.bincount(labels, minlength=10) / SAMPLES
    print("class     " + "".join(f"{c:>7}" for c in range(10)))
    print("samples   " + "".join(f"{share:>7.1%}" for share in shares))
    print(f"least frequent class: {shares.min():.1%}")
    print(f"nearest image: {np.median(distances):.2f} (real: {np.median(real_distances):.2f})")
    print(f"the ruler on real test images: {(real_labels == test.labels[:SAMPLES]).mean():.1%}")


if __name__ == "__main__":
    cli.run(main)
